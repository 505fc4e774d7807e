//! Record of events, in order.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus_core::ConsumeError;
use bus_core::message::{Envelope, Intent};
use bus_core::observe::{Observer, PostReceive, PostSend, ReceiveOutcome};
use tokio::sync::Notify;

/// Records what a bus sends, consumes and fails, for the harness that made it.
///
/// Clones record to the same place.
///
/// ```
/// use bus_core::{Bus, Message};
/// use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:InvoiceCreated")]
/// # struct InvoiceCreated { number: String }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let harness = Harness::start(|bus| bus).await?;
/// let other = Bus::builder(harness.transport()).observe(harness.observer()).start().await?;
/// other.publish(&InvoiceCreated { number: "A-7".into() }).await?;
/// assert_eq!(harness.published::<InvoiceCreated>().count(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Recorder(Arc<Journal>);

#[derive(Default)]
struct Journal {
    events: Mutex<Vec<Arc<Event>>>,
    news: Notify,
}

/// Kind of an event in the life of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Sent(Intent),
    Consumed,
    Faulted,
}

impl Happening {
    /// Verb for the texts of a test's output.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Sent(Intent::Publish) => "published",
            Self::Sent(Intent::Send) => "sent",
            Self::Sent(Intent::Respond) => "responded",
            Self::Sent(Intent::Fault) => "raised",
            Self::Sent(_) => "handed out",
            Self::Consumed => "consumed",
            Self::Faulted => "faulted",
        }
    }
}

/// Event in the life of a message.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) happening: Happening,
    pub(super) envelope: Envelope,
    /// Endpoint on which it was consumed.
    pub(super) endpoint: Option<String>,
    pub(super) attempts: u32,
    pub(super) duplicate: bool,
    pub(super) error: Option<String>,
}

impl Recorder {
    /// Notified of every event that is recorded from now on.
    pub(super) fn news(&self) -> &Notify {
        &self.0.news
    }

    /// Events recorded so far.
    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        self.lock().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Event>>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event) {
        self.lock().push(Arc::new(event));
        self.0.news.notify_waiters();
    }
}

impl Observer for Recorder {
    fn post_send(&self, sent: &PostSend<'_>) {
        self.record(Event {
            happening: Happening::Sent(sent.intent),
            envelope: sent.envelope.clone(),
            endpoint: None,
            attempts: 0,
            duplicate: false,
            error: None,
        });
    }

    fn post_receive(&self, received: &PostReceive<'_>) {
        let (happening, error) = match received.outcome {
            ReceiveOutcome::Handled | ReceiveOutcome::Duplicate => (Happening::Consumed, None),
            ReceiveOutcome::Faulted(error) => (Happening::Faulted, Some(error)),
            _ => return,
        };
        self.record(Event {
            happening,
            envelope: received.envelope.clone(),
            endpoint: Some(received.endpoint.to_owned()),
            attempts: received.attempts,
            duplicate: matches!(received.outcome, ReceiveOutcome::Duplicate),
            error: error.map(describe),
        });
    }
}

/// Joins the error and its causes.
fn describe(error: &ConsumeError) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ")
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("events", &self.count())
            .finish_non_exhaustive()
    }
}

/// Number of characters of a message that are shown.
const SHOWN: usize = 120;

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, message_type) = (self.happening.verb(), type_name(&self.envelope));
        write!(f, "{verb:<9} {message_type}")?;
        match &self.endpoint {
            Some(endpoint) => write!(f, " on {endpoint}")?,
            None => {
                if let Some(address) = &self.envelope.destination_address {
                    write!(f, " to {address}")?;
                }
            }
        }
        if self.attempts > 1 {
            write!(f, " after {} attempts", self.attempts)?;
        }
        if self.duplicate {
            f.write_str(", a duplicate")?;
        }
        let message = String::from_utf8_lossy(&self.envelope.message);
        let shown: String = message.chars().take(SHOWN).collect();
        let rest = if shown.len() < message.len() {
            "…"
        } else {
            ""
        };
        write!(f, ": {shown}{rest}")?;
        match &self.error {
            Some(error) => write!(f, " ({error})"),
            None => Ok(()),
        }
    }
}

/// Most specific type of a message, as it is written in `#[message("…")]`.
pub(super) fn type_name(envelope: &Envelope) -> &str {
    envelope.message_types.first().map_or("(no type)", |urn| {
        urn.strip_prefix("urn:message:").unwrap_or(urn)
    })
}
