//! Handle: a connection to a broker in the process.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bus_core::topology::Topology;
use bus_core::transport::{
    Capabilities, Capability, Health, ListenSpec, Listener, Outgoing, ScheduleToken, Transport,
    TransportError,
};
use tokio::sync::watch;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::broker::publish;
use crate::broker::{Broker, ConnectionId, Publication, State, errors};
use crate::listener::MemoryListener;

/// Features that it has beyond the common contract.
const CLAIMED: Capabilities = Capabilities::of(&[
    Capability::AlternateExchanges,
    Capability::CancelScheduled,
    Capability::ConsumerPriorities,
    Capability::DeferredRedelivery,
    Capability::DelayedDelivery,
    Capability::ExclusiveConsumers,
    Capability::HeadersExchanges,
    Capability::Mandatory,
    Capability::MessageTtl,
    Capability::Prefetch,
    Capability::Priorities,
    Capability::QueueLimits,
    Capability::QuorumQueues,
    Capability::RoutingKeys,
    Capability::SingleActiveConsumer,
]);

/// Transport in the process: one connection to a broker.
///
/// The broker lives as long as any handle to it: a connection, a listener, a receipt, or a harness.
/// Cloning opens another connection to the same broker, so that several buses can meet there;
/// [`new`](Self::new) makes another broker. A connection that is closed or dropped takes its
/// exclusive queues along, ends its listeners, and gives back the deliveries that they had not
/// settled.
///
/// ```
/// use bus_core::{Bus, Message};
/// use bus_inmemory::InMemory;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = InMemory::new();
/// let bus = Bus::builder(broker.clone()).start().await?;
/// bus.send_to("queue:invoicing", &CreateInvoice { number: "A-7".into() }).await?;
/// assert_eq!(broker.waiting("invoicing"), Some(1));
/// # Ok(()) }
/// ```
pub struct InMemory {
    broker: Arc<Broker>,
    connection: ConnectionId,
    closed: watch::Sender<()>,
}

impl InMemory {
    /// Opens a connection to a new, empty broker.
    pub fn new() -> Self {
        Self::connected_to(&Arc::default())
    }

    fn connected_to(broker: &Arc<Broker>) -> Self {
        Self {
            broker: Arc::clone(broker),
            connection: broker.with(State::connect),
            closed: watch::Sender::new(()),
        }
    }

    /// Number of messages that wait in a queue, not yet handed to a consumer.
    ///
    /// `None` if there is no such queue.
    pub fn waiting(&self, queue: &str) -> Option<usize> {
        self.broker
            .with(|state| Some(state.queues.get(queue)?.ready.len()))
    }

    /// Number of messages on the broker that wait for the end of their delay.
    pub fn delayed(&self) -> usize {
        self.broker.with(|state| state.schedule.delayed())
    }

    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    fn is_open(&self) -> bool {
        self.broker.with(|state| state.is_open(self.connection))
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for InMemory {
    /// Opens another connection to the same broker, even if this one was closed.
    fn clone(&self) -> Self {
        Self::connected_to(&self.broker)
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.broker.with(|state| state.disconnect(self.connection));
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory")
            .field("connection", &self.connection)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for InMemory {
    async fn connect(&self) -> Result<(), TransportError> {
        self.broker
            .with(|state| state.connection(self.connection).map(|_| ()))
    }

    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        self.broker
            .with(|state| state.declare(self.connection, topology))
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError> {
        // Lets consumers run beside a task that only publishes. Before the message is taken, so
        // that a send that is dropped here has not happened, and one that goes on is done before it
        // returns.
        consume_budget().await;
        if outgoing.deadline.is_some_and(|at| at <= Instant::now()) {
            return Err(errors::too_late());
        }
        let publication = Publication::new(outgoing)?;
        self.broker
            .with(|state| state.publish(self.connection, publication))
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        publish::check(outgoing)
    }

    async fn find_exchange(&self, name: &str) -> Result<(), TransportError> {
        self.broker.with(|state| {
            let is_there = state.exchanges.contains_key(name);
            is_there
                .then_some(())
                .ok_or_else(|| errors::no_exchange(name))
        })
    }

    async fn cancel(&self, token: ScheduleToken) -> Result<bool, TransportError> {
        self.broker.with(|state| {
            state.connection(self.connection)?;
            Ok(state.schedule.cancel(token))
        })
    }

    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        Ok(Arc::new(MemoryListener::open(
            &self.broker,
            self.connection,
            &spec,
        )?))
    }

    fn base_address(&self) -> String {
        "loopback://localhost/".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMED
    }

    fn health(&self) -> Health {
        if self.is_open() {
            Health::Up
        } else {
            Health::Down("the connection is closed".to_owned())
        }
    }

    fn health_changes(&self) -> watch::Receiver<()> {
        self.closed.subscribe()
    }

    async fn close(&self) {
        self.broker.with(|state| state.disconnect(self.connection));
        self.closed.send_replace(());
    }
}
