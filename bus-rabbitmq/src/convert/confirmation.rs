//! Reports of the client on published messages.

use lapin::types::AMQPValue;
use lapin::{BasicProperties, Confirmation};

use super::values::SEQUENCE;

/// Report of the client when a confirm arrives.
///
/// A mandatory message that no queue took is acknowledged like any other: `basic.return` says it,
/// and comes before the `basic.ack`.
pub(crate) struct Confirmed {
    /// `false` for `basic.nack`.
    ///
    /// Some of the message's queues may have taken it all the same.
    pub(crate) acked: bool,
    /// A returned message, not necessarily the confirmed one.
    ///
    /// The client hands out returns in the order of their arrival, each with the next confirm of
    /// any message.
    pub(crate) returned: Option<Returned>,
}

/// Message that the broker returned, identified by its mark.
pub(crate) struct Returned {
    pub(crate) mark: u64,
    pub(crate) reason: String,
}

/// Converts the client's report on a published message.
///
/// A returned message without a mark is none of ours, and is dropped.
pub(crate) fn confirmed(confirmation: Confirmation) -> Confirmed {
    let acked = confirmation.is_ack();
    let returned = confirmation.take_message().and_then(|message| {
        Some(Returned {
            mark: sequence_of(&message.properties)?,
            reason: message.reply_text.to_string(),
        })
    });
    Confirmed { acked, returned }
}

/// Returns the mark of a returned message.
fn sequence_of(properties: &BasicProperties) -> Option<u64> {
    match properties.headers().as_ref()?.inner().get(SEQUENCE)? {
        AMQPValue::LongLongInt(sequence) => u64::try_from(*sequence).ok(),
        _ => None,
    }
}
