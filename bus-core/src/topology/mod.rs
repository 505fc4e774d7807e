//! The broker's entities, as plain data: what a transport declares.

mod publish;

pub use publish::PublishTopology;
pub(crate) use publish::{PublishTopologies, Settings};

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::HeaderValue;

/// Exchanges, queues and bindings to declare, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// Exchanges to declare.
    pub exchanges: Vec<Exchange>,
    /// Queues to declare.
    pub queues: Vec<Queue>,
    /// Bindings to add; bindings are never removed.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// Adds the entities of another topology; what is there already stays once.
    pub fn merge(&mut self, other: Topology) {
        for exchange in other.exchanges {
            if !self.exchanges.contains(&exchange) {
                self.exchanges.push(exchange);
            }
        }
        for queue in other.queues {
            if !self.queues.contains(&queue) {
                self.queues.push(queue);
            }
        }
        for binding in other.bindings {
            if !self.bindings.contains(&binding) {
                self.bindings.push(binding);
            }
        }
    }
}

/// How the declaration of an entity treats one that exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Declared with our arguments; one that exists with others is an error.
    #[default]
    Declare,
    /// Looked up, and declared only if it is not there; one that exists is used as it is.
    IfMissing,
    /// Looked up only; one that is missing is an error. For entities that somebody else owns.
    Existing,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// To everything bound.
    #[default]
    Fanout,
    /// To bindings with the same key.
    Direct,
    /// To bindings whose pattern matches: `*` is one word, `#` any number of words.
    Topic,
    /// To bindings whose arguments match the headers (`x-match` all or any).
    Headers,
}

/// A router of messages to queues and other exchanges.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// At most 255 bytes.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Deleted after its last binding is gone.
    pub auto_delete: bool,
    /// Receives what this exchange cannot route.
    pub alternate: Option<String>,
    /// What to do if it exists.
    pub presence: Presence,
}

impl Exchange {
    /// A durable fanout exchange.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Fanout)
    }

    /// A durable exchange.
    pub fn new(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Self {
            name: name.into(),
            kind,
            durable: true,
            auto_delete: false,
            alternate: None,
            presence: Presence::Declare,
        }
    }
}

/// How a queue stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// One node; deletes what is acknowledged.
    #[default]
    Classic,
    /// Replicated; deletes what is acknowledged.
    Quorum,
    /// Replicated log; keeps what is read.
    Stream,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// Drops the oldest message.
    DropHead,
    /// Refuses the new message: its publisher gets an error.
    RejectPublish,
}

/// Where messages go that a queue gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The exchange; the empty name is the default exchange, which routes to the queue named by the key.
    pub exchange: String,
    /// The routing key, else the message's own.
    pub routing_key: Option<String>,
}

/// A buffer of messages.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // the broker's own flags
pub struct Queue {
    /// At most 255 bytes.
    pub name: String,
    /// How it stores.
    pub kind: QueueKind,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Only its connection may use it; deleted with that connection.
    pub exclusive: bool,
    /// Deleted after its last consumer is gone.
    pub auto_delete: bool,
    /// Deleted when unused for this long, with its messages.
    pub expires: Option<Duration>,
    /// How long a message may wait.
    pub message_ttl: Option<Duration>,
    /// How many messages may wait.
    pub max_length: Option<u64>,
    /// What happens beyond `max_length`.
    pub overflow: Option<Overflow>,
    /// The highest priority, 1 to 255; classic queues only.
    pub max_priority: Option<u8>,
    /// Only one of its consumers gets messages, the next takes over.
    pub single_active_consumer: bool,
    /// After how many returns a message is given up; quorum queues only.
    pub delivery_limit: Option<u32>,
    /// Where messages go that it gives up.
    pub dead_letter: Option<DeadLetter>,
    /// Further `x-` arguments, as they are.
    pub arguments: BTreeMap<String, HeaderValue>,
    /// What to do if it exists.
    pub presence: Presence,
}

impl Queue {
    /// A durable classic queue without arguments: what MassTransit declares.
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
}

/// One end of a binding that receives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A queue by name.
    Queue(String),
    /// An exchange by name.
    Exchange(String),
}

/// A route from an exchange to a queue or another exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange that routes.
    pub source: String,
    /// What receives.
    pub destination: Node,
    /// The key or pattern; empty for fanout and headers exchanges.
    pub routing_key: String,
    /// The header match of a headers exchange.
    pub arguments: BTreeMap<String, HeaderValue>,
}

impl Binding {
    /// A binding without a routing key.
    pub fn new(source: impl Into<String>, destination: Node) -> Self {
        Self {
            source: source.into(),
            destination,
            routing_key: String::new(),
            arguments: BTreeMap::new(),
        }
    }

    /// The same binding with a routing key or pattern.
    #[must_use]
    pub fn routing_key(mut self, key: impl Into<String>) -> Self {
        self.routing_key = key.into();
        self
    }
}
