//! A transport with other names than RabbitMQ's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus_core::Address;
use bus_core::topology::{Node, Queue, Topology};
use bus_core::transport::{
    InvalidName, Outgoing, ReplyInbox, Target, Transport, TransportError, TransportErrorKind,
};

use super::rigged::{Rig, Rigged};

/// The longest name, in characters.
const LONGEST: usize = 80;

/// Names without `:` and of at most 80 characters, and replies without an exchange.
///
/// It refuses other names wherever the bus uses one.
#[derive(Debug, Default)]
pub(crate) struct Renamed {
    used: Mutex<BTreeSet<String>>,
}

/// Returns the transport with other rules for names, to run the whole suite on.
///
/// A name has no `:` and at most 80 characters, and the queue for replies has no exchange.
pub fn renamed(inner: Arc<dyn Transport>) -> impl Transport {
    let rig = Arc::<Renamed>::default();
    Rigged { inner, rig }
}

impl Renamed {
    /// Returns the names that were declared, consumed or sent to.
    pub(crate) fn used(&self) -> BTreeSet<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.clone()
    }

    fn note(&self, name: &str) -> Result<(), TransportError> {
        self.check_name(name).map_err(|error| {
            TransportError::new(TransportErrorKind::Protocol, error.to_string())
        })?;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(name.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Rig for Renamed {
    fn entity_name(&self, given: String) -> String {
        given.replace(':', "_")
    }

    fn check_name(&self, name: &str) -> Result<(), InvalidName> {
        let rule = if name.contains(':') {
            "a name must be letters, digits, `-`, `_` or `.`"
        } else if name.chars().count() > LONGEST {
            "it is too long, a name has at most 80 characters"
        } else {
            return Ok(());
        };
        Err(InvalidName::new(name, rule))
    }

    fn reply_inbox(&self, given: ReplyInbox) -> ReplyInbox {
        let queue = format!("replies-{}", given.queue);
        ReplyInbox {
            address: Address::temporary(queue.clone()),
            topology: Topology {
                queues: vec![Queue::temporary(&queue)],
                ..Topology::default()
            },
            queue,
        }
    }

    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        let exchanges = topology.exchanges.iter().map(|exchange| &exchange.name);
        let queues = topology.queues.iter().map(|queue| &queue.name);
        let ends = topology.bindings.iter().flat_map(|binding| {
            let (Node::Queue(to) | Node::Exchange(to)) = &binding.destination;
            [&binding.source, to]
        });
        let mut names = exchanges.chain(queues).chain(ends);
        names.try_for_each(|name| self.note(name))
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        if let Target::Exchange {
            topology: Some(topology),
            ..
        } = &outgoing.target
        {
            self.declare(topology).await?;
        }
        self.note(outgoing.target.name())
    }

    async fn listen(&self, queue: &str) -> Result<(), TransportError> {
        self.note(queue)
    }
}
