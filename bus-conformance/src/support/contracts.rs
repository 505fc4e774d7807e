//! The messages that most behaviours use.

use bus_core::topology::PublishTopology;
use bus_core::{BusBuilder, Message};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Number of a sentinel, which is sent last to prove that nothing came before it.
pub const LAST: u32 = u32::MAX;

/// A message with a number that identifies it.
pub trait Numbered: Message {
    /// Its number.
    fn number(&self) -> u32;
}

macro_rules! numbered {
    ($($(#[$doc:meta])* $name:ident = $wire:literal)+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
            #[message($wire)]
            pub struct $name {
                /// Identifies this message.
                pub number: u32,
            }

            impl Numbered for $name {
                fn number(&self) -> u32 {
                    self.number
                }
            }
        )+
    };
}

numbered! {
    /// An event.
    Ordered = "Conformance:Ordered"
    /// Another event.
    Cancelled = "Conformance:Cancelled"
    /// A command.
    Place = "Conformance:Place"
    /// A request.
    Ask = "Conformance:Ask"
    /// Its answer.
    Answered = "Conformance:Answered"
    /// Its other answer.
    Declined = "Conformance:Declined"
}

/// An event that says to what it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message("Conformance:Shipped", correlation = "order")]
pub struct Shipped {
    /// The order, and the correlation id.
    pub order: Uuid,
}

/// Gives these contracts exchanges of one test's own: tests share a broker, and
/// contracts are static.
pub(crate) fn apart(builder: BusBuilder, id: &str) -> BusBuilder {
    fn exchange<M: Message>(id: &str) -> PublishTopology<M> {
        // Without the `:` that not every transport takes.
        let name = M::message_type().entity_name().replace(':', "_");
        PublishTopology::fanout().entity_name(format!("{name}-{id}"))
    }
    builder
        .publish_topology(exchange::<Ordered>(id))
        .publish_topology(exchange::<Cancelled>(id))
        .publish_topology(exchange::<Place>(id))
        .publish_topology(exchange::<Ask>(id))
        .publish_topology(exchange::<Answered>(id))
        .publish_topology(exchange::<Declined>(id))
        .publish_topology(exchange::<Shipped>(id))
}
