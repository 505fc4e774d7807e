//! The broker's entities, as plain data for a transport to declare.

mod filter;
mod matching;
mod publish;
mod queue;
mod subscriptions;
mod topic;

pub use filter::{Condition, Filter};
pub use publish::PublishTopology;
pub(crate) use publish::{KeyOf, PublishTopologies, all_keys, declared};
pub use queue::{DeadLetter, Overflow, Queue, QueueKind};
pub(crate) use queue::{error_queue_name, skipped_queue_name};
pub use subscriptions::QueueSubscription;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::HeaderValue;
use crate::message::headers::typed;

/// Exchanges, queues and bindings to declare, in this order.
///
/// ```
/// use bus_core::topology::{Binding, Exchange, ExchangeKind, Node, Queue, Topology};
///
/// let north = || Binding::new("prices", Node::Queue("north".to_owned())).routing_key("north.#");
/// let mut topology = Topology {
///     exchanges: vec![Exchange::new("prices", ExchangeKind::Topic)],
///     queues: vec![Queue::quorum("north")],
///     bindings: vec![north()],
/// };
/// topology.merge(Topology { bindings: vec![north()], ..Topology::default() });
/// assert_eq!(topology.bindings.len(), 1); // equal ones are kept once
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// Exchanges to declare.
    pub exchanges: Vec<Exchange>,
    /// Queues to declare.
    pub queues: Vec<Queue>,
    /// Bindings to add; bindings are never removed.
    pub bindings: Vec<Binding>,
}

impl Topology {
    /// Adds the entities of another topology; equal ones are kept once.
    ///
    /// Entities of one name with different settings are both kept.
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

/// Treatment of an entity that exists already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Declared with our arguments; one that exists with others is an error.
    #[default]
    Declare,
    /// Looked up, and declared only if it is missing.
    ///
    /// One that exists is used as it is.
    IfMissing,
    /// Looked up only; one that is missing is an error.
    ///
    /// For entities that another service owns.
    Existing,
}

/// Routing rule of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeKind {
    /// Routes to everything bound.
    #[default]
    Fanout,
    /// Routes to bindings with the same key.
    Direct,
    /// Routes to bindings whose pattern matches the key.
    ///
    /// `*` is one word, `#` any number of words.
    Topic,
    /// Routes to bindings whose arguments match the headers.
    ///
    /// The argument `x-match` is all or any.
    Headers,
}

/// A router of messages to queues and other exchanges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Name, within the rules of the transport.
    pub name: String,
    /// Routing rule.
    pub kind: ExchangeKind,
    /// Durability: the exchange survives a restart of the broker.
    pub durable: bool,
    /// Automatic deletion after its last binding is gone.
    pub auto_delete: bool,
    /// Name of the exchange that receives what this one cannot route.
    ///
    /// `None`: such a message is dropped, or returned to its sender if it is mandatory.
    pub alternate: Option<String>,
    /// Treatment of an exchange that exists already.
    pub presence: Presence,
}

impl Exchange {
    /// Creates a durable fanout exchange.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeKind::Fanout)
    }

    /// Creates a durable exchange of a kind.
    ///
    /// It is not deleted automatically and has no alternate exchange.
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

/// Receiving end of a binding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// A queue by name.
    Queue(String),
    /// An exchange by name.
    Exchange(String),
}

/// A route from an exchange to a queue or another exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// Exchange that routes.
    pub source: String,
    /// Queue or exchange that receives.
    pub destination: Node,
    /// Routing key or pattern; empty for fanout and headers exchanges.
    pub routing_key: String,
    /// Header match of a headers exchange.
    #[serde(with = "typed")]
    pub arguments: BTreeMap<String, HeaderValue>,
}

impl Binding {
    /// Creates a binding without a routing key.
    pub fn new(source: impl Into<String>, destination: Node) -> Self {
        Self {
            source: source.into(),
            destination,
            routing_key: String::new(),
            arguments: BTreeMap::new(),
        }
    }

    /// Returns the same binding with a routing key or pattern.
    #[must_use]
    pub fn routing_key(mut self, key: impl Into<String>) -> Self {
        self.routing_key = key.into();
        self
    }
}
