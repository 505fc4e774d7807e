//! Declarations: what is missing is made, what exists is compared; and what goes with a queue.

use std::collections::BTreeMap;

use bus_core::topology::{Binding, Exchange, Node, Presence, Queue, Topology};
use bus_core::transport::{TransportError, TransportErrorKind};

use crate::broker::{State, Stored, error, no};

impl State {
    pub(crate) fn declare(
        &mut self,
        connection: u64,
        topology: &Topology,
    ) -> Result<(), TransportError> {
        self.check_open(connection)?;
        for exchange in &topology.exchanges {
            self.declare_exchange(exchange)?;
        }
        for queue in &topology.queues {
            self.declare_queue(connection, queue)?;
        }
        for binding in &topology.bindings {
            self.bind(binding)?;
        }
        Ok(())
    }

    fn declare_exchange(&mut self, declared: &Exchange) -> Result<(), TransportError> {
        let name = declared.name.as_str();
        let is_same = |existing: &Exchange| {
            let presence = existing.presence;
            *existing
                == Exchange {
                    presence,
                    ..declared.clone()
                }
        };
        let existing = self.exchanges.get(name).map(is_same);
        if is_missing("exchange", name, declared.presence, existing)? {
            self.exchanges.insert(name.to_owned(), declared.clone());
        }
        Ok(())
    }

    fn declare_queue(&mut self, connection: u64, declared: &Queue) -> Result<(), TransportError> {
        let name = declared.name.as_str();
        self.check_owner(connection, name)?;
        let is_same = |existing: &Stored| {
            let presence = existing.settings.presence;
            existing.settings
                == Queue {
                    presence,
                    ..declared.clone()
                }
        };
        let existing = self.queues.get(name).map(is_same);
        if is_missing("queue", name, declared.presence, existing)? {
            let stored = Stored {
                settings: declared.clone(),
                owner: declared.exclusive.then_some(connection),
                ready: BTreeMap::new(),
            };
            self.queues.insert(name.to_owned(), stored);
        }
        Ok(())
    }

    pub(crate) fn check_owner(&self, connection: u64, queue: &str) -> Result<(), TransportError> {
        match self.queues.get(queue).and_then(|queue| queue.owner) {
            Some(owner) if owner != connection => Err(error(
                TransportErrorKind::AccessRefused,
                format!("the queue '{queue}' is exclusive to another connection"),
            )),
            _ => Ok(()),
        }
    }

    fn bind(&mut self, binding: &Binding) -> Result<(), TransportError> {
        self.check_exchange(&binding.source)?;
        match &binding.destination {
            Node::Exchange(name) => self.check_exchange(name)?,
            Node::Queue(name) if self.queues.contains_key(name) => {}
            Node::Queue(name) => return Err(no("queue", name)),
        }
        if !self.bindings.contains(binding) {
            self.bindings.push(binding.clone());
            self.fold();
        }
        Ok(())
    }

    pub(crate) fn check_exchange(&self, name: &str) -> Result<(), TransportError> {
        let found = self.exchanges.get(name).map(drop);
        found.ok_or_else(|| no("exchange", name))
    }

    fn fold(&mut self) {
        let all = Topology {
            exchanges: self.exchanges.values().cloned().collect(),
            queues: Vec::new(),
            bindings: self.bindings.clone(),
        };
        self.subscriptions = all.subscriptions();
    }

    /// Deletes a queue or an exchange, and the exchanges that go with their last binding.
    pub(crate) fn delete(&mut self, node: &Node) {
        match node {
            Node::Queue(name) => drop(self.queues.remove(name)),
            Node::Exchange(name) => drop(self.exchanges.remove(name)),
        }
        let bindings = std::mem::take(&mut self.bindings);
        let (gone, kept) = bindings
            .into_iter()
            .partition(|one| one.destination == *node);
        self.bindings = kept;
        self.fold();
        let gone: Vec<Binding> = gone;
        for Binding { source, .. } in gone {
            let is_bound = self.bindings.iter().any(|binding| binding.source == source);
            let exchange = self.exchanges.get(&source);
            if !is_bound && exchange.is_some_and(|exchange| exchange.auto_delete) {
                self.delete(&Node::Exchange(source));
            }
        }
    }
}

/// Returns `true` if an entity is to be made; `existing` says if the one there is the same.
fn is_missing(
    what: &str,
    name: &str,
    presence: Presence,
    existing: Option<bool>,
) -> Result<bool, TransportError> {
    match (existing, presence) {
        (None, Presence::Existing) => Err(no(what, name)),
        (None, _) => Ok(true),
        (Some(false), Presence::Declare) => Err(error(
            TransportErrorKind::Mismatch,
            format!("the {what} '{name}' is there with other settings"),
        )),
        (Some(_), _) => Ok(false),
    }
}

pub(crate) fn behind_its_exchange(queue: &str) -> Topology {
    Topology {
        exchanges: vec![Exchange::fanout(queue)],
        queues: vec![Queue::classic(queue)],
        bindings: vec![Binding::new(queue, Node::Queue(queue.to_owned()))],
    }
}
