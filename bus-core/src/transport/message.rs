//! Messages as a transport moves them.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::message::Headers;
use crate::topology::Topology;

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
    /// A queue itself, past every exchange, never declared. A queue that is gone is
    /// [`Unroutable`](super::TransportErrorKind::Unroutable).
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
    /// Delivered no earlier than after this; needs [`delayed_delivery`](super::Capabilities::delayed_delivery).
    pub delay: Option<Duration>,
    /// When the sender gives up; `send` returns by then.
    pub deadline: Option<Instant>,
    /// The message in the form in which the same transport delivered it, where it is moved to another queue.
    pub original: Option<Original>,
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
            original: None,
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
    /// The transport's own form, where it says more than the fields above.
    pub original: Option<Original>,
}

impl Incoming {
    /// The message id, unless it is blank or a UUID of zeros: those name no message.
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
/// The fields of [`Incoming`] are what a bus reads. A foreign message may say more: properties of other names, headers
/// of kinds that are read as one. A transport keeps these here, and takes them from [`Outgoing::original`] again: what
/// the fields there say wins, and a header that is no longer among them is gone. Means nothing to another transport.
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
    /// Keeps a form of the transport's own type.
    pub fn new(form: impl Any + Send + Sync) -> Self {
        Self(Arc::new(form))
    }

    /// Gives the form back to the transport that knows its type; `None` for one of another type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl PartialEq for Original {
    /// Equal are clones only.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Original").finish_non_exhaustive()
    }
}
