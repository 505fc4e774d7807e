//! The smallest transport: plain queues in memory, and nothing beyond the common contract.
//!
//! A behaviour that needs more says so in the list of its theme, or fails here.

mod broker;
mod declare;

use std::sync::Arc;

use bus_conformance::{TestBroker, support::unique_id};
use bus_core::topology::Topology;
use bus_core::transport::{
    Acker, Capabilities, Delivery, Health, ListenSpec, Listener, Outgoing, Receipt, Settlement,
    Tag, Transport, TransportError, TransportErrorKind,
};
use bus_core::{Bus, BusBuilder, async_trait};
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use crate::broker::{Broker, error, unsupported};

bus_conformance::conformance!(smallest, SmallestTestBroker::new());

/// One connection.
#[derive(Debug)]
struct Smallest {
    broker: Arc<Broker>,
    connection: u64,
}

impl Smallest {
    fn connect_to(broker: &Arc<Broker>) -> Self {
        Self {
            connection: broker.state().connect(),
            broker: Arc::clone(broker),
        }
    }
}

impl Drop for Smallest {
    fn drop(&mut self) {
        self.broker
            .change(|state| state.disconnect(self.connection));
    }
}

#[async_trait]
impl Transport for Smallest {
    async fn connect(&self) -> Result<(), TransportError> {
        self.broker.state().check_open(self.connection)
    }

    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        self.broker.state().declare(self.connection, topology)
    }

    async fn send(&self, outgoing: Outgoing) -> Result<(), TransportError> {
        // Lets others run beside a task that only sends.
        consume_budget().await;
        let now = Instant::now();
        if outgoing.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(error(TransportErrorKind::TimedOut, "the deadline is over"));
        }
        let is_late = outgoing.deliver_at.is_some_and(|at| at > now);
        if is_late || outgoing.ttl.is_some() || outgoing.schedule_token.is_some() {
            return Err(unsupported());
        }
        self.broker
            .change(|state| state.send(self.connection, outgoing))
    }

    async fn listen(&self, spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        let id = self.broker.state().listen(self.connection, &spec)?;
        let broker = Arc::clone(&self.broker);
        Ok(Arc::new(SmallestListener { broker, id }))
    }

    fn base_address(&self) -> String {
        "smallest://localhost/".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn health(&self) -> Health {
        match self.broker.state().check_open(self.connection) {
            Ok(()) => Health::Up,
            Err(closed) => Health::Down(closed.to_string()),
        }
    }

    async fn close(&self) {
        self.broker
            .change(|state| state.disconnect(self.connection));
    }
}

#[derive(Debug)]
struct SmallestListener {
    broker: Arc<Broker>,
    id: u64,
}

#[async_trait]
impl Listener for SmallestListener {
    async fn next(&self) -> Option<Result<Delivery, TransportError>> {
        consume_budget().await;
        loop {
            // Before looking: a change in between is not missed.
            let changed = self.broker.changed.notified();
            let pulled = self.broker.state().pull(self.id).ok()?;
            if let Some((tag, incoming)) = pulled {
                let acker = Arc::clone(&self.broker) as Arc<dyn Acker>;
                let receipt = Receipt::new(acker, tag);
                return Some(Ok(Delivery { incoming, receipt }));
            }
            changed.await;
        }
    }

    async fn stop(&self) {
        self.broker.change(|state| state.stop(self.id));
    }

    async fn close(&self) {
        self.broker.change(|state| state.leave(self.id));
    }
}

impl Drop for SmallestListener {
    fn drop(&mut self) {
        self.broker.change(|state| state.leave(self.id));
    }
}

#[async_trait]
impl Acker for Broker {
    fn settle(&self, tag: Tag, settlement: Settlement) {
        if let Some(tag) = tag.number() {
            self.change(|state| state.settle(tag, settlement));
        }
    }
}

/// A broker of its own for each test.
struct SmallestTestBroker {
    broker: Arc<Broker>,
    id: String,
}

impl SmallestTestBroker {
    fn new() -> Self {
        Self {
            broker: Arc::default(),
            id: unique_id(),
        }
    }
}

#[async_trait]
impl TestBroker for SmallestTestBroker {
    fn builder(&self) -> BusBuilder {
        Bus::builder(Smallest::connect_to(&self.broker))
    }

    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Smallest::connect_to(&self.broker))
    }

    async fn depth(&self, queue: &str) -> Option<u32> {
        let waiting = self.broker.state().depth(queue)?;
        u32::try_from(waiting).ok()
    }

    fn id(&self) -> &str {
        &self.id
    }
}
