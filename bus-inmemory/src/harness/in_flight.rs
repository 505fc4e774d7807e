//! Deliveries in flight, as a test sees them.

use std::fmt;
use std::time::Duration;

use bus_core::codec::Codec;
use bus_core::transport::Incoming;

use super::journal::type_name;

/// Delivery that was handed to a consumer, and is unsettled or still being handled.
///
/// ```
/// # use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
/// # use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
/// async fn hang(_: ConsumeContext<CreateInvoice>) -> ConsumeResult {
///     std::future::pending().await
/// }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let harness = Harness::start(|bus| bus.endpoint(Endpoint::new("invoices").consumer(hang))).await?;
/// harness.send_to("queue:invoices", &CreateInvoice { number: "A-7".into() }).await?;
///
/// let stuck = harness.try_quiescent().await.unwrap_err();
/// let delivery = &stuck.in_flight()[0];
/// assert_eq!(delivery.queue(), "invoices");
/// assert_eq!(delivery.message_type(), "Invoicing:CreateInvoice");
/// assert!(delivery.is_running());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    queue: String,
    message_type: String,
    message_id: Option<String>,
    running: bool,
}

impl InFlight {
    pub(super) fn running(queue: &str, message_type: &str, message_id: Option<String>) -> Self {
        Self {
            queue: queue.to_owned(),
            message_type: message_type.to_owned(),
            message_id,
            running: true,
        }
    }

    pub(super) fn delivery(queue: &str, incoming: &Incoming, running: bool) -> Self {
        let envelope = Codec::for_incoming(incoming, Codec::default())
            .and_then(|codec| codec.decode(incoming))
            .unwrap_or_default();
        Self {
            running,
            ..Self::running(queue, type_name(&envelope), incoming.message_id.clone())
        }
    }

    /// Name of the queue that the delivery came from.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Most specific type of the message, as in `#[message("…")]`.
    ///
    /// It is `(no type)` if the message names none, or cannot be read.
    pub fn message_type(&self) -> &str {
        &self.message_type
    }

    /// Id of the message, if it has one.
    pub fn message_id(&self) -> Option<&str> {
        self.message_id.as_deref()
    }

    /// Returns `true` if a consumer has taken it, `false` if it is only prefetched.
    pub fn is_running(&self) -> bool {
        self.running
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.running {
            "being handled"
        } else {
            "prefetched"
        };
        let id = self.message_id().unwrap_or("without id");
        write!(f, "{} {id} on {}: {state}", self.message_type, self.queue)
    }
}

/// Error for work that was still in flight after the harness's timeout.
///
/// Its text lists that work, and a test that returns the error prints the list.
///
/// ```
/// # use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
/// # use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
/// # async fn hang(_: ConsumeContext<CreateInvoice>) -> ConsumeResult {
/// #     std::future::pending().await
/// # }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let harness = Harness::start(|bus| bus.endpoint(Endpoint::new("invoices").consumer(hang))).await?;
/// # harness.send_to("queue:invoices", &CreateInvoice { number: "A-7".into() }).await?;
/// let stuck = harness.try_quiescent().await.unwrap_err();
/// assert!(stuck.to_string().contains("Invoicing:CreateInvoice"));
/// assert!(stuck.to_string().contains("on invoices: being handled"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct NotQuiescent {
    pub(super) after: Duration,
    pub(super) in_flight: Vec<InFlight>,
}

impl NotQuiescent {
    /// Deliveries that were in flight when the timeout had passed.
    pub fn in_flight(&self) -> &[InFlight] {
        &self.in_flight
    }
}

impl fmt::Display for NotQuiescent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not quiescent after {:?}; in flight:", self.after)?;
        self.in_flight
            .iter()
            .try_for_each(|one| write!(f, "\n  - {one}"))
    }
}

impl fmt::Debug for NotQuiescent {
    /// Formats as [`Display`](fmt::Display) does.
    ///
    /// A test that fails with `?` prints errors in this form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotQuiescent {}
