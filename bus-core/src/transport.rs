//! The seam to a broker: declare, send, listen, settle. Bytes and headers; nothing here reads an envelope.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use crate::headers::Headers;
pub use crate::pause::Backoff;
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
/// use bus_core::transport::{
///     Capabilities, Health, ListenSpec, Listener, Outgoing, Transport, TransportError, TransportErrorKind,
/// };
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
    /// Waits while the broker is away, at most until [`Outgoing::deadline`]. Safe to call from many tasks at once, and
    /// fastest so. A caller that drops the future does not know whether the message went.
    ///
    /// # Errors
    /// One that belongs to this message alone; see [`TransportErrorKind`].
    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError>;

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

/// Where a message goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// An exchange. With a topology, that is declared before the first send; without one, the exchange must exist and
    /// is never declared: that is how an address from the wire is used.
    Exchange {
        /// Its name.
        name: Cow<'static, str>,
        /// What to declare before the first send.
        topology: Option<Arc<Topology>>,
    },
    /// The exchange of a queue, with the same name. Both are declared, durable and classic, only if the queue is not there.
    Queue(Cow<'static, str>),
    /// A queue itself, past every exchange, never declared. A queue that is gone is [`TransportErrorKind::Unroutable`].
    Inbox(Cow<'static, str>),
}

impl Target {
    /// The name of the exchange or queue.
    pub fn name(&self) -> &str {
        match self {
            Self::Exchange { name, .. } | Self::Queue(name) | Self::Inbox(name) => name,
        }
    }
}

/// One message on its way to the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Where it goes.
    pub target: Target,
    /// For direct and topic exchanges; at most 255 bytes.
    pub routing_key: Cow<'static, str>,
    /// The bytes to move.
    pub body: Bytes,
    /// The media type of the body.
    pub content_type: Option<Cow<'static, str>>,
    /// The id as text; ids of foreign producers need not be UUIDs.
    pub message_id: Option<String>,
    /// The correlation id as text.
    pub correlation_id: Option<String>,
    /// Transport headers.
    pub headers: Headers,
    /// How long the broker may keep it waiting.
    pub ttl: Option<Duration>,
    /// Served before lower ones, where the queue has priorities.
    pub priority: Option<u8>,
    /// Written to disk.
    pub durable: bool,
    /// An error if no queue takes it.
    pub mandatory: bool,
    /// Delivered no earlier than after this; needs [`Capabilities::delayed_delivery`].
    pub delay: Option<Duration>,
    /// When the sender gives up; `send` returns by then.
    pub deadline: Option<Instant>,
}

impl Outgoing {
    /// A durable message without properties.
    pub fn new(target: Target, body: Bytes) -> Self {
        Self {
            target,
            routing_key: Cow::Borrowed(""),
            body,
            content_type: None,
            message_id: None,
            correlation_id: None,
            headers: Headers::new(),
            ttl: None,
            priority: None,
            durable: true,
            mandatory: false,
            delay: None,
            deadline: None,
        }
    }
}

/// One message as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// The bytes, untouched.
    pub body: Bytes,
    /// The media type of the body.
    pub content_type: Option<String>,
    /// The id as text.
    pub message_id: Option<String>,
    /// The correlation id as text.
    pub correlation_id: Option<String>,
    /// Transport headers, without the transport's own bookkeeping.
    pub headers: Headers,
    /// The exchange it was published to.
    pub exchange: String,
    /// The key it was published with.
    pub routing_key: String,
    /// It was delivered before, perhaps to somebody else.
    pub redelivered: bool,
    /// How often it was delivered before, where the queue counts.
    pub delivery_count: Option<u32>,
    /// Its priority.
    pub priority: Option<u8>,
    /// How long the broker might have kept it waiting.
    pub ttl: Option<Duration>,
    /// It was written to disk.
    pub durable: bool,
}

/// One delivery: the message and the right to settle it once.
#[derive(Debug)]
pub struct Delivery {
    /// What came.
    pub incoming: Incoming,
    /// Settles it.
    pub receipt: Receipt,
}

/// The right to settle one delivery, once. Dropped unsettled, it requeues.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bus_core::transport::{Acker, Receipt, Settlement};
///
/// #[derive(Debug, Default)]
/// struct Journal(Mutex<Vec<(u64, Settlement)>>);
/// impl Acker for Journal {
///     fn settle(&self, tag: u64, settlement: Settlement) {
///         self.0.lock().unwrap().push((tag, settlement));
///     }
/// }
///
/// let journal = Arc::new(Journal::default());
/// Receipt::new(journal.clone(), 1).settle(Settlement::Ack);
/// drop(Receipt::new(journal.clone(), 2));
/// assert_eq!(*journal.0.lock().unwrap(), [(1, Settlement::Ack), (2, Settlement::Requeue)]);
/// ```
#[derive(Debug)]
pub struct Receipt {
    acker: Option<Arc<dyn Acker>>,
    tag: u64,
}

impl Receipt {
    /// A receipt for the delivery that `acker` knows as `tag`.
    pub fn new(acker: Arc<dyn Acker>, tag: u64) -> Self {
        Self {
            acker: Some(acker),
            tag,
        }
    }

    /// Settles; never waits.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, settlement);
        }
    }

    /// Acknowledges and waits until the broker knows. `false` if it cannot be told any more: the message comes again.
    ///
    /// For at-most-once handling, which must not begin before.
    pub async fn acknowledge(mut self) -> bool {
        match self.acker.take() {
            Some(acker) => acker.acknowledge(self.tag).await,
            None => false,
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, Settlement::Requeue);
        }
    }
}

/// Takes settlements; a transport's side of a [`Receipt`].
#[async_trait]
pub trait Acker: Send + Sync + fmt::Debug {
    /// Queues the settlement and returns at once. Called at most once for each tag. A tag of a channel that is gone is
    /// dropped, never applied to a newer channel.
    fn settle(&self, tag: u64, settlement: Settlement);

    /// Acknowledges, and waits until the broker has processed it; `false` if the channel is gone. An acker whose [`settle`](Self::settle) takes effect at once needs nothing else.
    async fn acknowledge(&self, tag: u64) -> bool {
        self.settle(tag, Settlement::Ack);
        true
    }
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done: the broker forgets it.
    Ack,
    /// Back to the queue, marked as redelivered.
    Requeue,
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

/// What the caller can do about a [`TransportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The broker cannot be reached now; trying again may help.
    Unreachable,
    /// The deadline passed without the broker's word: the message may or may not have arrived.
    TimedOut,
    /// The transport was closed.
    Closed,
    /// No queue took a mandatory message, or the exchange or queue is not there.
    Unroutable,
    /// The broker refused the message (negative acknowledgement); a queue was full, or failed.
    Nacked,
    /// Wrong credentials, unknown virtual host or missing permission.
    AccessRefused,
    /// An entity exists with other arguments.
    Mismatch,
    /// The message, its headers or a name is larger than the broker takes.
    TooLarge,
    /// The transport cannot do what was asked.
    Unsupported,
    /// The broker broke the protocol, or we did.
    Protocol,
}

impl TransportErrorKind {
    /// Whether the same call may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Nacked)
    }
}

/// An error of the transport: the kind, and words that name the entity concerned.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    kind: TransportErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// An error with words for people: what failed, for which entity, what to do.
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}
