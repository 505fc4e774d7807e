//! Messages as a transport moves them.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::schedule_token::ScheduleToken;
use crate::message::Headers;
use crate::topology::Topology;

/// Destination of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// An exchange, with or without a topology to declare.
    ///
    /// The transport declares the topology before it first sends there. Without one, the exchange
    /// is never declared, as its address may come from the wire: one that is missing is
    /// [`Unroutable`](super::TransportErrorKind::Unroutable).
    Exchange {
        /// Name of the exchange.
        name: Cow<'static, str>,
        /// Entities to declare before the first send.
        topology: Option<Arc<Topology>>,
    },
    /// The exchange of a queue, with the same name.
    ///
    /// The transport declares both, durable and classic, only if the queue is not there.
    Queue(Cow<'static, str>),
    /// A queue itself, past every exchange; never declared.
    ///
    /// For a queue that is gone, a [mandatory](Outgoing::mandatory) message is
    /// [`Unroutable`](super::TransportErrorKind::Unroutable).
    Inbox(Cow<'static, str>),
}

impl Target {
    /// Returns the name of the exchange or queue.
    pub fn name(&self) -> &str {
        match self {
            Self::Exchange { name, .. } | Self::Queue(name) | Self::Inbox(name) => name,
        }
    }
}

/// One message on its way to the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Destination of the message.
    pub target: Target,
    /// Routing key, for direct and topic exchanges; at most 255 bytes.
    pub routing_key: Cow<'static, str>,
    /// Body, moved byte for byte.
    pub body: Bytes,
    /// Media type of the body.
    pub content_type: Option<Cow<'static, str>>,
    /// Message id as text; ids of foreign producers need not be UUIDs.
    pub message_id: Option<String>,
    /// Correlation id as text.
    pub correlation_id: Option<String>,
    /// Transport headers.
    pub headers: Headers,
    /// Time to live in a queue; `None` leaves it to the queue.
    ///
    /// A transport may round it up to whole milliseconds, as RabbitMQ's does.
    pub ttl: Option<Duration>,
    /// Priority; served before lower ones, where the queue has priorities.
    pub priority: Option<u8>,
    /// Persistence: the broker writes the message to disk.
    pub durable: bool,
    /// Demand that a queue takes the message.
    ///
    /// [`Unroutable`](super::TransportErrorKind::Unroutable) if no queue does; without the demand,
    /// such a message is dropped.
    pub mandatory: bool,
    /// Instant before which the message is not delivered; one in the past is now.
    ///
    /// Needs [`DelayedDelivery`](super::Capability::DelayedDelivery).
    pub deliver_at: Option<Instant>,
    /// Token with which the message is cancelled until it is due.
    ///
    /// [`Transport::cancel`](super::Transport::cancel) takes it. Needs
    /// [`CancelScheduled`](super::Capability::CancelScheduled).
    pub schedule_token: Option<ScheduleToken>,
    /// Key of the messages that keep their order among each other.
    ///
    /// A store or a broker that divides messages into parts puts those of one key into the same
    /// part, in the order in which they were sent. Others ignore it.
    pub ordering_key: Option<String>,
    /// Instant at which the sender gives up; `send` returns by then.
    ///
    /// If it is over at the call, nothing is sent, and the error is
    /// [`TimedOut`](super::TransportErrorKind::TimedOut) or
    /// [`Unreachable`](super::TransportErrorKind::Unreachable). `None` waits without limit.
    pub deadline: Option<Instant>,
    /// Message in the form in which the same transport delivered it.
    ///
    /// Set where a message is moved to another queue.
    pub original: Option<Original>,
}

impl Outgoing {
    /// Creates a durable message without properties.
    ///
    /// It is not mandatory and has no deadline: sending it while the broker is away waits without
    /// limit.
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
            deliver_at: None,
            schedule_token: None,
            ordering_key: None,
            deadline: None,
            original: None,
        }
    }
}

/// One message as it came from the broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming {
    /// Body, byte for byte.
    pub body: Bytes,
    /// Media type of the body.
    pub content_type: Option<String>,
    /// Message id as text.
    pub message_id: Option<String>,
    /// Correlation id as text.
    pub correlation_id: Option<String>,
    /// Transport headers, without the transport's own bookkeeping.
    pub headers: Headers,
    /// Exchange it was published to.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// Mark of a redelivery: it was delivered before, perhaps to another consumer.
    pub redelivered: bool,
    /// Number of earlier deliveries, where the queue counts them.
    pub delivery_count: Option<u32>,
    /// Priority of the message.
    pub priority: Option<u8>,
    /// Time to live that the message had in its queue.
    pub ttl: Option<Duration>,
    /// Persistence: the message was written to disk.
    pub durable: bool,
    /// Form of the transport's own, where it holds more than the fields above.
    pub original: Option<Original>,
}

impl Incoming {
    /// Returns the message id, unless it is blank or a UUID of zeros.
    ///
    /// Such ids identify no message.
    ///
    /// ```
    /// use bus_core::transport::Incoming;
    ///
    /// let with = |id: &str| Incoming { message_id: Some(id.to_owned()), ..Incoming::default() };
    /// assert_eq!(with("order-7").identity(), Some("order-7"));
    /// assert_eq!(with(" ").identity(), None);
    /// assert_eq!(with("00000000-0000-0000-0000-000000000000").identity(), None);
    /// ```
    pub fn identity(&self) -> Option<&str> {
        let is_nil = |id: &str| Uuid::try_parse(id).is_ok_and(|id| id.is_nil());
        let id = self.message_id.as_deref()?;
        let trimmed = id.trim();
        (!trimmed.is_empty() && !is_nil(trimmed)).then_some(id)
    }
}

/// A transport's own form of a message, for a move that changes nothing else.
///
/// The fields of [`Incoming`] are what a bus reads. A foreign message may hold more: properties of
/// other names, headers of kinds that are read as one. A transport keeps these here, and takes them
/// from [`Outgoing::original`] again: the fields there take precedence, and a header that is no
/// longer among them is gone. It has no meaning for another transport.
///
/// ```
/// use bus_core::transport::Original;
///
/// let original = Original::new("app-id: 7".to_owned());
/// assert_eq!(original.get::<String>().map(String::as_str), Some("app-id: 7"));
/// assert_eq!(original.get::<u32>(), None);
/// ```
#[derive(Clone)]
pub struct Original(Arc<dyn Any + Send + Sync>);

impl Original {
    /// Wraps a form of the transport's own type.
    pub fn new(form: impl Any + Send + Sync) -> Self {
        Self(Arc::new(form))
    }

    /// Returns the form to the transport that knows its type.
    ///
    /// `None` for a form of another type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl PartialEq for Original {
    /// Returns `true` for clones of one form only.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Original").finish_non_exhaustive()
    }
}
