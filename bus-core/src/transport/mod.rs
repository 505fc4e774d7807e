//! The seam to a broker: declare, send, listen, settle. Bytes and headers; nothing here reads an envelope.

pub(crate) mod address;
pub(crate) mod backoff;
mod delivery;
mod error;
mod message;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub(crate) use address::Address;
pub use address::InvalidAddress;
pub use backoff::Backoff;
pub use delivery::{Acker, Delivery, Receipt, Settlement};
pub use error::{TransportError, TransportErrorKind};
pub use message::{Incoming, Original, Outgoing, Target};

use crate::topology::Topology;

/// A broker, seen by the framework.
///
/// An implementation moves bodies byte for byte, keeps headers and properties, and owns everything about connections:
/// it reconnects by itself, declares again what it needs, and resumes its listeners.
///
/// A transport that wraps another one changes what happens at the seam, here to see what a service does when its
/// messages get lost:
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use bus_core::async_trait;
/// use bus_core::topology::Topology;
/// use bus_core::transport::{Capabilities, Health, ListenSpec, Listener, Outgoing, Transport, TransportError, TransportErrorKind};
///
/// /// Refuses every third message.
/// #[derive(Debug)]
/// struct Flaky<T> { inner: T, count: AtomicU32 }
///
/// #[async_trait]
/// impl<T: Transport> Transport for Flaky<T> {
///     async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError> {
///         if self.count.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
///             return Err(TransportError::new(TransportErrorKind::Nacked, "every third message is refused"));
///         }
///         self.inner.send(outgoing).await
///     }
///     async fn connect(&self) -> Result<(), TransportError> { self.inner.connect().await }
///     async fn declare(&self, topology: &Topology) -> Result<(), TransportError> { self.inner.declare(topology).await }
///     async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
///         self.inner.listen(spec).await
///     }
///     fn base_address(&self) -> String { self.inner.base_address() }
///     fn capabilities(&self) -> Capabilities { self.inner.capabilities() }
///     fn health(&self) -> Health { self.inner.health() }
///     async fn close(&self) { self.inner.close().await }
/// }
/// ```
#[async_trait]
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Connects, and waits for a broker that is not up yet, saying in the log for what.
    ///
    /// Cancel-safe: the caller bounds the wait. Calling it again on a connected transport does nothing.
    ///
    /// # Errors
    /// At once for what waiting cannot cure: wrong credentials, an unknown virtual host, a missing permission.
    async fn connect(&self) -> Result<(), TransportError>;

    /// Declares entities: exchanges, then queues, then bindings. Declaring twice changes nothing.
    ///
    /// # Errors
    /// [`TransportErrorKind::Mismatch`] for an entity that exists with other arguments.
    async fn declare(&self, topology: &Topology) -> Result<(), TransportError>;

    /// Sends one message; `Ok` means that the broker owns it.
    ///
    /// Waits while the broker is away, at most until [`Outgoing::deadline`]; may try again until
    /// then what the broker refuses for now. Safe to call from many tasks at once, and fastest so.
    /// A caller that drops the future does not know whether the message went.
    ///
    /// # Errors
    /// One that belongs to this message alone; see [`TransportErrorKind`].
    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError>;

    /// Refuses a message that could never be sent, before it is held in an outbox. Default: `Ok`.
    ///
    /// An outbox accepts what [`send`](Self::send) gets later, after the consumer's effects; a refusal is of use only
    /// before. Looks at names and sizes.
    ///
    /// # Errors
    /// What `send` would say.
    fn check(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let _ = outgoing;
        Ok(())
    }

    /// Finds an exchange that is never declared, before a message to it is held in an outbox. Default: `Ok`.
    ///
    /// # Errors
    /// [`TransportErrorKind::Unroutable`] if it is not there. A broker that is away refuses nothing.
    async fn find_exchange(&self, name: &str) -> Result<(), TransportError> {
        let _ = name;
        Ok(())
    }

    /// Starts to receive from a queue. Its topology has been declared and is declared again after a loss.
    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError>;

    /// The address of the broker, ending in `/`, without credentials: `rabbitmq://localhost/`.
    fn base_address(&self) -> String;

    /// What this transport can do.
    fn capabilities(&self) -> Capabilities;

    /// What is wrong with its settings, in words that say what to do; told with the bus's own mistakes before anything
    /// is connected.
    fn mistakes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the broker can be reached, as known now; never blocks.
    fn health(&self) -> Health;

    /// Ends all connections after what was handed over is written. Further calls fail with [`TransportErrorKind::Closed`].
    async fn close(&self);
}

/// Messages of one queue, pulled.
///
/// ```
/// use bus_core::transport::{Listener, Settlement};
///
/// /// Acknowledges what is there until the listener is stopped, and counts it.
/// async fn drain(listener: &dyn Listener) -> usize {
///     let mut count = 0;
///     while let Some(next) = listener.next().await {
///         if let Ok(delivery) = next {
///             delivery.receipt.settle(Settlement::Ack);
///             count += 1;
///         }
///     }
///     count
/// }
/// ```
#[async_trait]
pub trait Listener: Send + Sync + fmt::Debug {
    /// The next delivery; `None` after [`stop`](Self::stop).
    ///
    /// Cancel-safe, and may be called from several tasks at once, each delivery going to one of them. A lost
    /// connection is the transport's to mend: `next` waits meanwhile. An error is a fact to report; pulling goes on.
    async fn next(&self) -> Option<Result<Delivery, TransportError>>;

    /// Waits while the subscription is being mended: until then, what is sent to a queue that goes away with its
    /// connection would find nothing.
    async fn ready(&self) {}

    /// Whether the queue is consumed, as known now; never blocks. What concerns all queues, such as a broker that is
    /// away, is said by [`Transport::health`]. Default: up.
    ///
    /// A queue that cannot be consumed at present is down, with the reason; the listener goes on trying.
    fn health(&self) -> Health {
        Health::Up
    }

    /// Counts how often a message was handed out before, to this process or to others.
    ///
    /// Asked once for each delivery that is [`redelivered`](Incoming::redelivered), so that a message whose processes
    /// die of it is set aside at last. Returns that come from the loss of this process's own connection need not count.
    /// Default: [`Incoming::delivery_count`], or none.
    async fn redeliveries(&self, incoming: &Incoming) -> u32 {
        incoming.delivery_count.unwrap_or(0)
    }

    /// Ends the subscription: deliveries that nobody pulled go back to the queue. Those that were pulled can still be
    /// settled.
    async fn stop(&self);

    /// Waits until every settlement handed over is written, then lets go of the channel; what is still unsettled goes
    /// back to the queue. Implies [`stop`](Self::stop).
    async fn close(&self);
}

/// What to receive from, and how.
#[derive(Clone, Debug)]
pub struct ListenSpec {
    /// The queue.
    pub queue: String,
    /// What to declare again when the queue is gone.
    pub topology: Arc<Topology>,
    /// How many deliveries may be unsettled at once; at least 1.
    pub prefetch: u16,
    /// Consumers with a higher priority are served first.
    pub priority: Option<i32>,
    /// No other consumer may share the queue.
    pub exclusive: bool,
    /// Where in a stream to begin; streams only.
    pub stream_offset: Option<StreamOffset>,
}

/// Where in a stream to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOffset {
    /// At the oldest message.
    First,
    /// At the newest chunk.
    Last,
    /// At what comes from now on.
    Next,
    /// At this offset.
    At(u64),
}

/// What a transport can do beyond the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)]
pub struct Capabilities {
    /// Honours [`Outgoing::delay`].
    pub delayed_delivery: bool,
    /// Messages survive the end of the process.
    pub persistent: bool,
    /// Has quorum queues and their delivery limit.
    pub quorum_queues: bool,
    /// Has streams.
    pub streams: bool,
}

impl Capabilities {
    /// None of them.
    pub const NONE: Self = Self {
        delayed_delivery: false,
        persistent: false,
        quorum_queues: false,
        streams: false,
    };
}

/// Whether the broker can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Yes.
    Up,
    /// Partly, or not for publishers; the text says what.
    Degraded(String),
    /// No; the text says why.
    Down(String),
}
