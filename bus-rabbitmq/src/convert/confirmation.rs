//! What the client says of messages that were published.

use lapin::types::AMQPValue;
use lapin::{BasicProperties, Confirmation};

use super::values::SEQUENCE;

/// What the client reports when a confirm arrives.
pub(crate) struct Confirmed {
    pub(crate) acked: bool,
    /// A message that came back, whichever it was: the client hands returns out in the order of their arrival, with
    /// whatever confirm comes next.
    pub(crate) returned: Option<Returned>,
}

/// A message that the broker gave back, by its mark.
pub(crate) struct Returned {
    pub(crate) mark: u64,
    pub(crate) reason: String,
}

/// What the client says of a message that was published.
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

/// The mark of a message that came back.
fn sequence_of(properties: &BasicProperties) -> Option<u64> {
    match properties.headers().as_ref()?.inner().get(SEQUENCE)? {
        AMQPValue::LongLongInt(sequence) => u64::try_from(*sequence).ok(),
        _ => None,
    }
}
