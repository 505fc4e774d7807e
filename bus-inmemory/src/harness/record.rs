//! Record of one event of a message of a known type.

use std::fmt;
use std::sync::Arc;

use bus_core::Message;
use bus_core::codec::{DecodeError, decode_message};
use bus_core::message::Envelope;

use super::journal::Event;

/// Event in the life of a message of type `M`: the message, and the outcome.
///
/// ```
/// # use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
/// # use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
/// async fn refuse(_: ConsumeContext<CreateInvoice>) -> ConsumeResult {
///     Err("the number is taken".into())
/// }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let harness = Harness::start(|bus| bus.endpoint(Endpoint::new("invoices").consumer(refuse))).await?;
/// harness.send_to("queue:invoices", &CreateInvoice { number: "A-7".into() }).await?;
///
/// let failed = harness.faulted::<CreateInvoice>().wait().await?;
/// assert_eq!(failed.message().number, "A-7");
/// assert_eq!(failed.endpoint(), Some("invoices"));
/// assert_eq!(failed.attempts(), 1);
/// assert_eq!(failed.error(), Some("the number is taken"));
/// # Ok(()) }
/// ```
pub struct Record<M> {
    event: Arc<Event>,
    message: Result<M, DecodeError>,
}

impl<M: Message> Record<M> {
    pub(super) fn new(event: Arc<Event>) -> Self {
        Self {
            message: decode_message(&event.envelope.message),
            event,
        }
    }
}

impl<M> Record<M> {
    /// Message of the event.
    ///
    /// # Panics
    /// Panics if the message is declared to be an `M` and cannot be read as one; see
    /// [`try_message`](Self::try_message).
    #[track_caller]
    pub fn message(&self) -> &M {
        match &self.message {
            Ok(message) => message,
            Err(error) => panic!("{error}; what happened was: {}", self.event),
        }
    }

    /// Message of the event, without its record.
    ///
    /// # Panics
    /// If it cannot be read, as [`message`](Self::message).
    #[track_caller]
    pub fn into_message(self) -> M {
        match self.message {
            Ok(message) => message,
            Err(error) => panic!("{error}; what happened was: {}", self.event),
        }
    }

    /// Message of the event, or the reason for which it cannot be read.
    pub fn try_message(&self) -> Result<&M, &DecodeError> {
        self.message.as_ref()
    }

    /// Envelope of the message, with its ids, addresses and headers.
    pub fn envelope(&self) -> &Envelope {
        &self.event.envelope
    }

    /// Endpoint that handled the message; `None` for a message that was sent.
    pub fn endpoint(&self) -> Option<&str> {
        self.event.endpoint.as_deref()
    }

    /// Number of times that the consumer ran for this delivery; 0 for a sent message.
    pub fn attempts(&self) -> u32 {
        self.event.attempts
    }

    /// Returns `true` if the endpoint recognized the message as handled before.
    pub fn is_duplicate(&self) -> bool {
        self.event.duplicate
    }

    /// Error of the consumer, with its causes; `None` if it did not fail.
    pub fn error(&self) -> Option<&str> {
        self.event.error.as_deref()
    }
}

impl<M> fmt::Debug for Record<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({})", self.event)
    }
}
