//! One thing that happened to a message of a known type.

use std::fmt;
use std::sync::Arc;

use bus_core::Message;
use bus_core::codec::{DecodeError, decode_message};
use bus_core::message::Envelope;

use super::journal::Event;

/// Something that happened to a message of type `M`: the message, and how it went.
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
/// harness.bus().send_to("queue:invoices", &CreateInvoice { number: "A-7".into() }).await?;
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
    /// The message.
    ///
    /// # Panics
    /// If it says that it is an `M` and cannot be read as one; see [`try_message`](Self::try_message).
    #[track_caller]
    pub fn message(&self) -> &M {
        match &self.message {
            Ok(message) => message,
            Err(error) => panic!("{error}; what happened was: {}", self.event),
        }
    }

    /// The message, without what is known of it.
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

    /// The message, or why it cannot be read.
    pub fn try_message(&self) -> Result<&M, &DecodeError> {
        self.message.as_ref()
    }

    /// Its ids, addresses and headers.
    pub fn envelope(&self) -> &Envelope {
        &self.event.envelope
    }

    /// The endpoint that handled it; none for what was sent.
    pub fn endpoint(&self) -> Option<&str> {
        self.event.endpoint.as_deref()
    }

    /// How often the consumer ran for this delivery; 0 for what was sent.
    pub fn attempts(&self) -> u32 {
        self.event.attempts
    }

    /// Whether the endpoint recognized it as handled before.
    pub fn is_duplicate(&self) -> bool {
        self.event.duplicate
    }

    /// Why it failed, with causes; none if it did not.
    pub fn error(&self) -> Option<&str> {
        self.event.error.as_deref()
    }
}

impl<M> fmt::Debug for Record<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({})", self.event)
    }
}
