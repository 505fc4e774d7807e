//! Queues: their kinds, arguments and names.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Presence;
use crate::message::HeaderValue;
use crate::message::headers::typed;

/// Delivery limit of a quorum queue, past which the broker dead-letters a message.
///
/// It is large because messages that were only prefetched by a process that crashed are counted,
/// too.
const DELIVERY_LIMIT: u32 = 1000;

/// Time of disuse after which a temporary queue is deleted.
const TEMPORARY_EXPIRES: Duration = Duration::from_secs(60);

/// Returns the name of the queue that keeps failed messages of an endpoint.
pub(crate) fn error_queue_name(endpoint: &str) -> String {
    format!("{endpoint}_error")
}

/// Returns the name of the queue that keeps messages without a consumer.
pub(crate) fn skipped_queue_name(endpoint: &str) -> String {
    format!("{endpoint}_skipped")
}

/// Storage of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueKind {
    /// Storage on one node; deletes what is acknowledged.
    #[default]
    Classic,
    /// Replicated storage; deletes what is acknowledged.
    Quorum,
    /// Replicated log; keeps what is read.
    Stream,
}

/// Behaviour of a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Drops the oldest message.
    DropHead,
    /// Refuses the new message: its publisher gets an error.
    RejectPublish,
}

/// Destination of the messages that a queue gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Exchange that receives them.
    ///
    /// The empty name is the default exchange, which routes to the queue named by the key.
    pub exchange: String,
    /// Routing key; `None` keeps the message's own.
    pub routing_key: Option<String>,
}

/// A buffer of messages.
///
/// The constructors and setters make the queue of an [`Endpoint`](crate::Endpoint::on); a transport
/// reads the fields.
///
/// ```
/// use std::time::Duration;
/// use bus_core::topology::{Overflow, Queue};
///
/// let queue = Queue::quorum("orders")
///     .max_length(10_000, Overflow::RejectPublish)
///     .message_ttl(Duration::from_secs(3600));
/// assert_eq!(queue.dead_letter.unwrap().routing_key.as_deref(), Some("orders_error"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // the broker's own flags
pub struct Queue {
    /// Name, within the rules of the transport.
    pub name: String,
    /// Kind of storage.
    pub kind: QueueKind,
    /// Durability: the queue survives a restart of the broker.
    pub durable: bool,
    /// Exclusive use by its connection; the queue is deleted with that connection.
    pub exclusive: bool,
    /// Automatic deletion after its last consumer is gone.
    pub auto_delete: bool,
    /// Time of disuse after which the queue is deleted, with its messages.
    pub expires: Option<Duration>,
    /// Maximum time that a message may wait.
    pub message_ttl: Option<Duration>,
    /// Maximum number of messages that may wait.
    pub max_length: Option<u64>,
    /// Behaviour beyond `max_length`; `None` is the broker's default.
    pub overflow: Option<Overflow>,
    /// Highest priority, 1 to 255; classic queues only.
    pub max_priority: Option<u8>,
    /// Single active consumer: one of its consumers gets messages.
    ///
    /// If that one goes, the next takes over.
    pub single_active_consumer: bool,
    /// Number of returns after which a message is given up; quorum queues only.
    pub delivery_limit: Option<u32>,
    /// Destination of the messages that it gives up.
    pub dead_letter: Option<DeadLetter>,
    /// Further `x-` arguments, passed as they are.
    #[serde(with = "typed")]
    pub arguments: BTreeMap<String, HeaderValue>,
    /// Treatment of a queue that exists already.
    pub presence: Presence,
}

impl Queue {
    /// Creates a durable classic queue without arguments, as MassTransit declares.
    pub fn classic(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: QueueKind::Classic,
            durable: true,
            exclusive: false,
            auto_delete: false,
            expires: None,
            message_ttl: None,
            max_length: None,
            overflow: None,
            max_priority: None,
            single_active_consumer: false,
            delivery_limit: None,
            dead_letter: None,
            arguments: BTreeMap::new(),
            presence: Presence::Declare,
        }
    }

    /// Creates a quorum queue, which is replicated and loses no message.
    ///
    /// A message that the broker gives up, after a thousand returns, goes to `<name>_error`.
    pub fn quorum(name: impl Into<String>) -> Self {
        let queue = Self::plain_quorum(name);
        let error = DeadLetter {
            exchange: String::new(),
            routing_key: Some(error_queue_name(&queue.name)),
        };
        Self {
            delivery_limit: Some(DELIVERY_LIMIT),
            dead_letter: Some(error),
            ..queue
        }
    }

    /// Creates a quorum queue without further arguments, as MassTransit declares.
    ///
    /// For a queue shared with .NET. Recent brokers drop its messages after 20 returns.
    pub fn plain_quorum(name: impl Into<String>) -> Self {
        Self {
            kind: QueueKind::Quorum,
            ..Self::classic(name)
        }
    }

    /// Creates a stream: a replicated log, whose messages stay after they are read.
    ///
    /// A transport without streams makes it a configuration mistake.
    pub fn stream(name: impl Into<String>) -> Self {
        Self {
            kind: QueueKind::Stream,
            ..Self::classic(name)
        }
    }

    /// Creates a queue that belongs to this process and goes away with it.
    pub fn temporary(name: impl Into<String>) -> Self {
        Self {
            durable: false,
            exclusive: true,
            expires: Some(TEMPORARY_EXPIRES),
            ..Self::classic(name)
        }
    }

    /// Sets the time to live of a message in the queue.
    ///
    /// Default, and `Duration::MAX`: no limit. On an endpoint, zero is a configuration mistake.
    #[must_use]
    pub fn message_ttl(mut self, ttl: Duration) -> Self {
        self.message_ttl = Some(ttl).filter(|ttl| *ttl != Duration::MAX);
        self
    }

    /// Limits the number of messages in the queue, and says what a full queue does.
    ///
    /// Default: no limit.
    #[must_use]
    pub fn max_length(mut self, length: u64, overflow: Overflow) -> Self {
        self.max_length = Some(length);
        self.overflow = Some(overflow);
        self
    }

    /// Makes the queue serve messages of higher priority first, up to `highest`.
    ///
    /// Classic queues only. At most 255, and better at most 10: each priority costs the broker. On
    /// an endpoint, 0 is a configuration mistake.
    #[must_use]
    pub fn max_priority(mut self, highest: u8) -> Self {
        self.max_priority = Some(highest);
        self
    }

    /// Delivers to one consumer at a time only; the next takes over when it is gone.
    #[must_use]
    pub fn single_active_consumer(mut self) -> Self {
        self.single_active_consumer = true;
        self
    }

    /// Adds a further argument, as the broker knows it: `x-…`.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<HeaderValue>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// Returns `true` if the queue goes away with the process that declared it.
    pub(crate) fn is_temporary(&self) -> bool {
        self.exclusive
    }

    /// Returns `true` if the broker moves what it gives up to the error queue.
    pub(crate) fn dead_letters_to_error_queue(&self) -> bool {
        let key = |dead_letter: &DeadLetter| dead_letter.routing_key.clone();
        self.dead_letter.as_ref().and_then(key) == Some(error_queue_name(&self.name))
    }
}
