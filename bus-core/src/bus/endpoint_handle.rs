//! The handle to one endpoint: pause, resume, limits.

use std::fmt;
use std::sync::Arc;

use crate::consume::EndpointControl;
use crate::error::LimitError;
use crate::observe::EndpointHealth;
use crate::receive::EndpointRunner;
use crate::transport::TransportError;

/// A handle to one endpoint of a running bus.
///
/// ```
/// use bus_core::Bus;
/// use bus_core::error::LimitError;
///
/// /// Lets the endpoint handle up to 64 messages at once.
/// async fn raise(bus: &Bus) -> Result<(), LimitError> {
///     if let Some(invoices) = bus.endpoint("invoices") {
///         invoices.set_prefetch(128).await?;
///         invoices.set_concurrency(64)?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct EndpointHandle {
    runner: Arc<EndpointRunner>,
}

impl EndpointHandle {
    pub(super) fn new(runner: &Arc<EndpointRunner>) -> Self {
        Self {
            runner: Arc::clone(runner),
        }
    }

    /// Returns the control of the endpoint, whose calls never wait.
    ///
    /// It has a pause that ends after a time.
    pub fn control(&self) -> EndpointControl {
        EndpointControl::new(Arc::clone(self.runner.control()))
    }

    /// Returns the number of messages that the endpoint handles at once.
    pub fn concurrency(&self) -> usize {
        self.runner.control().limits().concurrency
    }

    /// Sets the number of messages that the endpoint handles at once.
    ///
    /// It holds for deliveries that begin from now on; those that run end, also if they are more
    /// than the new limit. With 1, messages that are pulled from now on are handled in the order of
    /// the queue, after those that run. With more than 1, a message that waits to be handled no
    /// longer keeps others from it.
    ///
    /// # Errors
    /// [`LimitError`] for 0, and for more than the [`prefetch`](Self::prefetch).
    pub fn set_concurrency(&self, limit: usize) -> Result<(), LimitError> {
        self.runner.control().set_concurrency(limit)
    }

    /// Returns the number of messages that the broker hands out unacknowledged.
    pub fn prefetch(&self) -> u16 {
        self.runner.control().limits().prefetch
    }

    /// Sets the number of messages that the broker hands out unacknowledged.
    ///
    /// Messages that were handed out stay so, in their order. On RabbitMQ, the queue is subscribed
    /// anew on the same channel: for a moment it has no consumer of this process.
    ///
    /// # Errors
    /// [`LimitError`] for 0, for less than the [`concurrency`](Self::concurrency), and where the
    /// transport cannot change it.
    pub async fn set_prefetch(&self, count: u16) -> Result<(), LimitError> {
        self.runner.set_prefetch(count).await
    }

    /// Pauses the endpoint, and waits until its running consumers are done.
    ///
    /// It takes no more messages; they stay in the queue meanwhile, and those that were handed out
    /// and have not begun go back to it. The pause lasts until [`resume`](Self::resume). The queue
    /// of a temporary endpoint is deleted after a minute without consumers, and messages that
    /// arrive after that are lost.
    ///
    /// A caller that stops waiting changes nothing: the endpoint is paused, and running consumers
    /// finish. A consumer that awaits the pause of its own endpoint waits for itself; it has
    /// [`endpoint_control`](crate::ConsumeContext::endpoint_control).
    pub async fn pause(&self) {
        self.runner.pause().await;
    }

    /// Resumes the endpoint, which ends all of its pauses.
    ///
    /// Declares the queue again, in case it was deleted, and waits for a broker that is away; a
    /// pause or the stop of the bus ends that wait. Does nothing if the endpoint takes messages
    /// already.
    ///
    /// # Errors
    /// The refusal of the broker; [`Closed`](crate::transport::TransportErrorKind::Closed) if the
    /// bus is shut down, or if the endpoint was paused again before it was consumed.
    pub async fn resume(&self) -> Result<(), TransportError> {
        self.runner.resume().await
    }

    /// Returns `true` if the endpoint takes messages.
    ///
    /// That is so also while its health is degraded.
    pub fn is_running(&self) -> bool {
        self.health().is_running()
    }

    /// Returns the health of the endpoint, as currently known.
    pub fn health(&self) -> EndpointHealth {
        self.runner.health()
    }
}

impl fmt::Debug for EndpointHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointHandle")
            .field("name", &self.runner.name())
            .field("running", &self.is_running())
            .finish()
    }
}
