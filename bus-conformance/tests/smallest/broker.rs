//! Plain queues in memory, filled by what chains of bindings come to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bus_core::topology::{Binding, Exchange, Node, Queue, QueueSubscription};
use bus_core::transport::{
    Incoming, ListenSpec, Outgoing, Settlement, Target, TransportError, TransportErrorKind,
};
use tokio::sync::Notify;

use crate::declare::behind_its_exchange;

/// State that all connections share, and its changes.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    state: Mutex<State>,
    /// Wakes all listeners, each of which looks what there is for it.
    pub(crate) changed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) exchanges: HashMap<String, Exchange>,
    pub(crate) queues: HashMap<String, Stored>,
    pub(crate) bindings: Vec<Binding>,
    /// The bindings, folded to what each queue gets.
    pub(crate) subscriptions: Vec<QueueSubscription>,
    pub(crate) listeners: HashMap<u64, Subscriber>,
    pub(crate) unsettled: HashMap<u64, Unsettled>,
    pub(crate) connections: HashSet<u64>,
    pub(crate) last_id: u64,
}

#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) settings: Queue,
    /// The connection of an exclusive queue.
    pub(crate) owner: Option<u64>,
    /// By number, so that a message that comes back has its old place.
    pub(crate) ready: BTreeMap<u64, Incoming>,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) connection: u64,
    pub(crate) queue: String,
    pub(crate) prefetch: usize,
    pub(crate) stopped: bool,
}

#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) listener: u64,
    pub(crate) queue: String,
    pub(crate) number: u64,
    pub(crate) incoming: Incoming,
}

impl Broker {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.changed.notify_waiters();
        result
    }
}

impl State {
    pub(crate) fn connect(&mut self) -> u64 {
        let connection = self.id();
        self.connections.insert(connection);
        connection
    }

    pub(crate) fn depth(&self, queue: &str) -> Option<usize> {
        Some(self.queues.get(queue)?.ready.len())
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn check_open(&self, connection: u64) -> Result<(), TransportError> {
        if self.connections.contains(&connection) {
            return Ok(());
        }
        Err(error(
            TransportErrorKind::Closed,
            "the connection is closed",
        ))
    }

    pub(crate) fn send(
        &mut self,
        connection: u64,
        outgoing: Outgoing,
    ) -> Result<(), TransportError> {
        self.check_open(connection)?;
        match &outgoing.target {
            Target::Exchange { topology, .. } => {
                if let Some(topology) = topology {
                    self.declare(connection, topology)?;
                }
                self.publish(outgoing)
            }
            Target::Queue(name) => {
                if !self.queues.contains_key(&**name) {
                    self.declare(connection, &behind_its_exchange(name))?;
                }
                self.publish(outgoing)
            }
            Target::Inbox(name) if self.queues.contains_key(&**name) => {
                let name = name.to_string();
                self.store(&name, incoming(outgoing, ""));
                Ok(())
            }
            Target::Inbox(name) if outgoing.mandatory => Err(no("queue", name)),
            Target::Inbox(_) => Ok(()),
        }
    }

    fn publish(&mut self, outgoing: Outgoing) -> Result<(), TransportError> {
        let exchange = outgoing.target.name().to_owned();
        self.check_exchange(&exchange)?;
        let incoming = incoming(outgoing, &exchange);
        let takes = |one: &&QueueSubscription| {
            one.source == exchange && one.filter.matches(&incoming.routing_key, &incoming.headers)
        };
        let chosen = self.subscriptions.iter().filter(takes);
        let queues: Vec<_> = chosen.map(|one| one.queue.clone()).collect();
        for queue in queues {
            self.store(&queue, incoming.clone());
        }
        Ok(())
    }

    fn store(&mut self, queue: &str, incoming: Incoming) {
        let number = self.id();
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.ready.insert(number, incoming);
        }
    }

    pub(crate) fn listen(
        &mut self,
        connection: u64,
        spec: &ListenSpec,
    ) -> Result<u64, TransportError> {
        self.check_open(connection)?;
        if spec.exclusive || spec.priority.is_some() || spec.stream_offset.is_some() {
            return Err(unsupported());
        }
        if !self.queues.contains_key(&spec.queue) {
            return Err(no("queue", &spec.queue));
        }
        self.check_owner(connection, &spec.queue)?;
        let subscriber = Subscriber {
            connection,
            queue: spec.queue.clone(),
            prefetch: spec.prefetch.into(),
            stopped: false,
        };
        let id = self.id();
        self.listeners.insert(id, subscriber);
        Ok(id)
    }

    /// Takes the next delivery for a listener, with its tag; an error after its end.
    pub(crate) fn pull(&mut self, id: u64) -> Result<Option<(u64, Incoming)>, ()> {
        let listener = self
            .listeners
            .get(&id)
            .filter(|one| !one.stopped)
            .ok_or(())?;
        let held = self.unsettled.values().filter(|one| one.listener == id);
        if held.count() >= listener.prefetch {
            return Ok(None);
        }
        let queue = listener.queue.clone();
        let Stored { ready, .. } = self.queues.get_mut(&queue).ok_or(())?;
        let Some((number, incoming)) = ready.pop_first() else {
            return Ok(None);
        };
        let tag = self.id();
        let unsettled = Unsettled {
            listener: id,
            queue,
            number,
            incoming: incoming.clone(),
        };
        self.unsettled.insert(tag, unsettled);
        Ok(Some((tag, incoming)))
    }

    pub(crate) fn settle(&mut self, tag: u64, settlement: Settlement) {
        let Some(settled) = self.unsettled.remove(&tag) else {
            return;
        };
        let queue = self.queues.get_mut(&settled.queue);
        if let (Some(queue), false) = (queue, settlement == Settlement::Ack) {
            let incoming = Incoming {
                redelivered: true,
                ..settled.incoming
            };
            queue.ready.insert(settled.number, incoming);
        }
    }

    pub(crate) fn stop(&mut self, id: u64) {
        if let Some(listener) = self.listeners.get_mut(&id) {
            listener.stopped = true;
        }
    }

    /// Ends a listener; what it has not settled goes back.
    pub(crate) fn leave(&mut self, id: u64) {
        let Some(left) = self.listeners.remove(&id) else {
            return;
        };
        let held = self.unsettled.iter().filter(|(_, one)| one.listener == id);
        let tags: Vec<_> = held.map(|(tag, _)| *tag).collect();
        for tag in tags {
            self.settle(tag, Settlement::Requeue);
        }
        let is_used = self.listeners.values().any(|one| one.queue == left.queue);
        let queue = self.queues.get(&left.queue);
        if !is_used && queue.is_some_and(|queue| queue.settings.auto_delete) {
            self.delete(&Node::Queue(left.queue));
        }
    }

    pub(crate) fn disconnect(&mut self, connection: u64) {
        self.connections.remove(&connection);
        let ours = self
            .listeners
            .iter()
            .filter(|(_, one)| one.connection == connection);
        let listeners: Vec<_> = ours.map(|(id, _)| *id).collect();
        for id in listeners {
            self.leave(id);
        }
        let ours = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.owner == Some(connection));
        let queues: Vec<_> = ours.map(|(name, _)| Node::Queue(name.clone())).collect();
        for queue in &queues {
            self.delete(queue);
        }
    }
}

fn incoming(outgoing: Outgoing, exchange: &str) -> Incoming {
    Incoming {
        body: outgoing.body,
        content_type: outgoing.content_type.map(Into::into),
        message_id: outgoing.message_id,
        correlation_id: outgoing.correlation_id,
        headers: outgoing.headers,
        exchange: exchange.to_owned(),
        routing_key: outgoing.routing_key.into_owned(),
        durable: outgoing.durable,
        ..Incoming::default()
    }
}

pub(crate) fn error(kind: TransportErrorKind, text: impl Into<String>) -> TransportError {
    TransportError::new(kind, text)
}

pub(crate) fn no(what: &str, name: &str) -> TransportError {
    error(
        TransportErrorKind::Unroutable,
        format!("there is no {what} '{name}'"),
    )
}

pub(crate) fn unsupported() -> TransportError {
    error(
        TransportErrorKind::Unsupported,
        "the smallest transport cannot do this",
    )
}
