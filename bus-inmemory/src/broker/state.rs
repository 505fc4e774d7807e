//! State of a broker, behind its one lock.

use std::collections::HashMap;
use std::sync::Arc;

use bus_core::topology::Topology;
use bus_core::transport::TransportError;

use super::consumers::{ConnectionId, ConsumerId};
use super::disorder::Disorder;
use super::exchange::Exchange;
use super::flow::Flow;
use super::message::Name;
use super::queue::Queue;
use super::routes::Routes;
use super::schedule::Schedule;
use crate::broker::errors;

/// Entities and connections of the broker.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) exchanges: HashMap<Name, Exchange>,
    pub(crate) queues: HashMap<Name, Queue>,
    pub(crate) routes: Routes,
    pub(crate) schedule: Schedule,
    pub(crate) flow: Flow,
    pub(crate) disorder: Disorder,
    connections: HashMap<ConnectionId, Connection>,
    next_id: u64,
}

/// State of an open connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Topology declared before sending, by exchange.
    ///
    /// It is kept so that it is not compared for each message.
    pub(crate) declared: HashMap<Name, Arc<Topology>>,
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        let id = self.next_id();
        self.connections.insert(id, Connection::default());
        id
    }

    pub(crate) fn next_consumer(&mut self) -> ConsumerId {
        self.next_id()
    }

    pub(crate) fn is_open(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Returns an open connection.
    ///
    /// # Errors
    /// Fails if the connection was closed.
    pub(crate) fn connection(
        &mut self,
        id: ConnectionId,
    ) -> Result<&mut Connection, TransportError> {
        self.connections.get_mut(&id).ok_or_else(errors::closed)
    }

    /// Ends a connection.
    ///
    /// Its consumers and exclusive queues are removed, its unsettled deliveries go back.
    pub(crate) fn disconnect(&mut self, id: ConnectionId) {
        if self.connections.remove(&id).is_none() {
            return;
        }
        let names: Vec<Name> = self.queues.keys().cloned().collect();
        for name in names {
            self.change(&name, |queue, flow| {
                let own = queue.consumers.iter().filter(|own| own.connection == id);
                let own: Vec<_> = own.map(|consumer| consumer.id).collect();
                for consumer in own {
                    queue.remove(consumer, flow);
                }
            });
            if self
                .queues
                .get(&name)
                .is_some_and(|queue| queue.owner == Some(id))
            {
                self.delete_queue(&name);
            }
        }
    }

    /// Changes a queue, if it exists, and applies the effects of the change.
    pub(crate) fn change<T>(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Queue, &mut Flow) -> T,
    ) -> Option<T> {
        let queue = self.queues.get_mut(name)?;
        let had_consumer = queue.consumers.subscribed().next().is_some();
        let changed = change(queue, &mut self.flow);
        let lost_consumer = had_consumer && queue.consumers.subscribed().next().is_none();
        self.schedule.look_after(queue);
        if lost_consumer && queue.is_over() {
            let name = Arc::clone(&queue.name);
            self.delete_queue(&name);
        } else if lost_consumer {
            self.schedule.delete_if_unused(queue);
        }
        self.forward_given_up();
        Some(changed)
    }

    pub(crate) fn delete_queue(&mut self, name: &str) {
        if let Some(mut queue) = self.queues.remove(name) {
            queue.end(&mut self.flow);
            self.unbind(&bus_core::topology::Node::Queue(name.to_owned()));
        }
    }
}
