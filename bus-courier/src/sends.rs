//! Things that publish and send.

use bus_core::send::{Sender, Sending};
use bus_core::{Bus, ConsumeContext, Message};

/// Something that publishes and sends.
pub trait Sends: Sync {
    /// Publishes an event.
    fn event<E: Message>(&self, event: &E) -> Sending;

    /// Sends a message to an address.
    fn to<C: Message>(&self, address: &str, message: &C) -> Sending;
}

impl Sends for Bus {
    fn event<E: Message>(&self, event: &E) -> Sending {
        self.publish(event)
    }

    fn to<C: Message>(&self, address: &str, message: &C) -> Sending {
        self.send_to(address, message)
    }
}

impl Sends for Sender {
    fn event<E: Message>(&self, event: &E) -> Sending {
        self.publish(event)
    }

    fn to<C: Message>(&self, address: &str, message: &C) -> Sending {
        self.send_to(address, message)
    }
}

impl<M: ?Sized + Send + Sync> Sends for ConsumeContext<M> {
    fn event<E: Message>(&self, event: &E) -> Sending {
        self.publish(event)
    }

    fn to<C: Message>(&self, address: &str, message: &C) -> Sending {
        self.send_to(address, message)
    }
}
