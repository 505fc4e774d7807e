//! Queues through which a delayed message falls, one for each bit of its wait.
//!
//! ```text
//!  level-27 ──1──► queue, 2^27 s ──┐
//!     │ 0                          │ dead-lettered
//!     ▼                            ▼
//!  level-26 ──1──► queue, 2^26 s ──┐
//!     ⋮                            ▼
//!  level-00 ──1──► queue, 1 s ───► deliver ──► the queue, or the exchange of the type
//!                                     └──────► undeliverable, if it is gone
//! ```
//!
//! The routing key is the wait in seconds as 28 binary digits, each a word, then `q` and the queue,
//! or `e` and the exchange: at each level the exchange reads one digit. A message enters at its
//! highest digit that is 1.
//!
//! # Invariants
//!
//! - Each hop is a dead-lettering with confirm, so that a message is in one queue or the next one.
//!   RabbitMQ holds up a whole level while a destination takes none of 32 messages, so every
//!   message has a destination: `undeliverable` for a queue that is gone, and `unsubscribed`, which
//!   keeps nothing, beside the subscribers of an exchange.
//! - Waits are kept by the broker as times of its clock, so that an outage makes a message late,
//!   never early and never lost.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bus_core::topology::{
    Binding, DeadLetter, Exchange, ExchangeKind, Node, Overflow, Queue, Topology,
};
use bus_core::transport::Target;

/// Number of levels, one for each binary digit of a wait in seconds.
pub(super) const LEVELS: u32 = 28;

/// Longest wait, of about eight and a half years.
pub(super) const LONGEST: Duration = Duration::from_secs((1 << LEVELS) - 1);

/// Word before the name of a queue.
const TO_QUEUE: &str = "q";
/// Word before the name of an exchange.
const TO_EXCHANGE: &str = "e";

/// Delivery limit of the queue of undeliverable messages.
///
/// It is very large because looking at a message counts as a return.
const KEPT_DELIVERY_LIMIT: u32 = 1_000_000;

/// Names of the ladder's parts, and their topology.
pub(crate) struct Ladder {
    prefix: String,
    topology: Arc<Topology>,
}

/// Place to which a delayed message goes in the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    Queue(String),
    Exchange(String),
}

impl Destination {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Queue(name) => (TO_QUEUE, name),
            Self::Exchange(name) => (TO_EXCHANGE, name),
        }
    }

    /// Returns the end of the routing key.
    pub(super) fn key(&self) -> String {
        let (kind, name) = self.words();
        format!("{kind}.{name}")
    }

    fn node(&self) -> Node {
        match self {
            Self::Queue(name) => Node::Queue(name.clone()),
            Self::Exchange(name) => Node::Exchange(name.clone()),
        }
    }
}

impl Ladder {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            topology: Arc::new(topology(prefix)),
        }
    }

    /// Returns the target and the routing key of a message that waits.
    ///
    /// `seconds` are from 1 to those of [`LONGEST`].
    pub(super) fn entry(&self, seconds: u64, destination: &Destination) -> (Target, String) {
        let level = seconds.max(1).ilog2().min(LEVELS - 1);
        let target = Target::Exchange {
            name: level_name(&self.prefix, level).into(),
            topology: Some(Arc::clone(&self.topology)),
        };
        let mut key = String::with_capacity(255);
        for bit in (0..LEVELS).rev() {
            key.push(if seconds >> bit & 1 == 1 { '1' } else { '0' });
            key.push('.');
        }
        key.push_str(&destination.key());
        (target, key)
    }

    /// Returns the binding by which the messages of a destination leave the ladder.
    pub(super) fn exit(&self, destination: &Destination) -> Binding {
        let key = words(LEVELS) + &destination.key();
        Binding::new(deliver_name(&self.prefix), destination.node()).routing_key(key)
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }
}

fn level_name(prefix: &str, level: u32) -> String {
    format!("{prefix}.level-{level:02}")
}

fn deliver_name(prefix: &str) -> String {
    format!("{prefix}.deliver")
}

/// Pattern of a topic exchange that takes any words, of this number.
fn words(count: u32) -> String {
    "*.".repeat(count as usize)
}

fn topology(prefix: &str) -> Topology {
    let mut all = ends(prefix);
    for level in 0..LEVELS {
        all.merge(one_level(prefix, level));
    }
    all
}

/// Builds the end of the ladder, and the queues for what has no other destination.
fn ends(prefix: &str) -> Topology {
    let (deliver, undeliverable) = (deliver_name(prefix), format!("{prefix}.undeliverable"));
    let unsubscribed = format!("{prefix}.unsubscribed");
    let kept = Queue {
        delivery_limit: Some(KEPT_DELIVERY_LIMIT),
        ..Queue::plain_quorum(&undeliverable)
    };
    Topology {
        exchanges: vec![
            Exchange::fanout(&undeliverable),
            Exchange {
                alternate: Some(undeliverable.clone()),
                ..Exchange::new(&deliver, ExchangeKind::Topic)
            },
        ],
        queues: vec![
            kept,
            Queue::classic(&unsubscribed).message_ttl(Duration::ZERO),
        ],
        bindings: vec![
            Binding::new(&undeliverable, Node::Queue(undeliverable.clone())),
            Binding::new(&deliver, Node::Queue(unsubscribed))
                .routing_key(format!("{}{TO_EXCHANGE}.#", words(LEVELS))),
        ],
    }
}

/// Builds the exchange and the queue of one digit.
fn one_level(prefix: &str, level: u32) -> Topology {
    let name = level_name(prefix, level);
    let below = match level.checked_sub(1) {
        Some(below) => level_name(prefix, below),
        None => deliver_name(prefix),
    };
    let queue = Queue {
        message_ttl: Some(Duration::from_secs(1 << level)),
        // Needed for dead-lettering with confirm.
        overflow: Some(Overflow::RejectPublish),
        dead_letter: Some(DeadLetter {
            exchange: below.clone(),
            routing_key: None,
        }),
        ..Queue::plain_quorum(&name).argument("x-dead-letter-strategy", "at-least-once")
    };
    let digit = |value| {
        let mut pattern = words(LEVELS - 1 - level);
        // Writing to a string cannot fail.
        let _ = write!(pattern, "{value}.#");
        pattern
    };
    Topology {
        exchanges: vec![Exchange::new(&name, ExchangeKind::Topic)],
        bindings: vec![
            Binding::new(&name, Node::Queue(name.clone())).routing_key(digit(1)),
            Binding::new(&name, Node::Exchange(below)).routing_key(digit(0)),
        ],
        queues: vec![queue],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a message through the bindings; returns its wait and its destinations.
    fn fall(seconds: u64, destination: &Destination) -> (u64, Vec<Node>) {
        let ladder = Ladder::new("d");
        let mut topology = ladder.topology().clone();
        topology.bindings.push(ladder.exit(destination));
        let (target, key) = ladder.entry(seconds, destination);
        let (mut exchange, mut waited) = (target.name().to_owned(), 0);
        loop {
            let taken = topology.bindings.iter().filter(|binding| {
                binding.source == exchange && matches(&binding.routing_key, &key)
            });
            let nodes: Vec<_> = taken.map(|binding| binding.destination.clone()).collect();
            if exchange == "d.deliver" {
                return (waited, nodes);
            }
            assert_eq!(nodes.len(), 1, "{key} at {exchange}");
            exchange = match &nodes[0] {
                Node::Exchange(next) => next.clone(),
                Node::Queue(name) => {
                    let queue = topology.queues.iter().find(|queue| queue.name == *name);
                    let queue = queue.unwrap();
                    waited += queue.message_ttl.unwrap().as_secs();
                    queue.dead_letter.as_ref().unwrap().exchange.clone()
                }
            };
        }
    }

    /// Matches as a topic exchange does, for patterns that have `#` at their end only.
    fn matches(pattern: &str, key: &str) -> bool {
        let (pattern, open) = match pattern.strip_suffix(".#") {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        let (pattern, key): (Vec<_>, Vec<_>) =
            (pattern.split('.').collect(), key.split('.').collect());
        let fits = pattern
            .iter()
            .zip(&key)
            .all(|(pattern, word)| *pattern == "*" || pattern == word);
        fits && (key.len() == pattern.len() || open && key.len() > pattern.len())
    }

    #[test]
    fn a_message_waits_as_long_as_it_was_given() {
        let queue = Destination::Queue("billing.orders".to_owned());
        for seconds in [1, 2, 3, 7, 31, 3600, 86_400, 1 << 27, LONGEST.as_secs()] {
            let (waited, nodes) = fall(seconds, &queue);
            assert_eq!(waited, seconds);
            assert_eq!(nodes, [Node::Queue("billing.orders".to_owned())]);
        }
    }

    #[test]
    fn a_name_that_ends_like_another_gets_no_copy() {
        let ladder = Ladder::new("d");
        let long = ladder.entry(1, &Destination::Queue("billing.orders".to_owned()));
        let short = ladder.exit(&Destination::Queue("orders".to_owned()));
        assert!(!matches(&short.routing_key, &long.1));
        let exchange = ladder.exit(&Destination::Exchange("billing.orders".to_owned()));
        assert!(!matches(&exchange.routing_key, &long.1));
    }

    #[test]
    fn an_event_has_a_destination_without_subscribers() {
        let event = Destination::Exchange("Invoicing:InvoiceCreated".to_owned());
        let (_, nodes) = fall(5, &event);
        let expected = [
            Node::Queue("d.unsubscribed".to_owned()),
            Node::Exchange("Invoicing:InvoiceCreated".to_owned()),
        ];
        assert_eq!(nodes, expected);
    }

    #[test]
    fn each_level_waits_twice_as_long_as_the_one_below() {
        let topology = topology("d");
        let waits: Vec<_> = topology
            .queues
            .iter()
            .filter(|queue| queue.name.contains("level"))
            .map(|queue| queue.message_ttl.unwrap().as_secs())
            .collect();
        assert_eq!(waits.len(), 28);
        assert_eq!(waits.iter().sum::<u64>(), LONGEST.as_secs());
    }
}
