//! A decorator of a transport: what is declared gets names of one run's own, and goes away by itself.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bus_core::async_trait;
use bus_core::message::MessageType;
use bus_core::topology::{Binding, DeadLetter, Exchange, Node, Queue, Topology};
use bus_core::transport::{
    Capabilities, Health, InvalidName, ListenSpec, Listener, Outgoing, ReplyInbox, ScheduleToken,
    Target, Transport, TransportError,
};
use tokio::sync::watch;

/// Time for which a queue without consumers lives. The exchanges go with the queues that they are bound to.
const LINGER: Duration = Duration::from_mins(1);

/// Keeps one run apart from everybody else on the broker: from the services that run there under the same names, from
/// other runs at the same time, and from what an earlier one left behind.
///
/// The services do not notice: they declare, send and listen with the names of their contracts.
#[derive(Debug)]
pub(crate) struct Apart<T> {
    transport: T,
    run: String,
}

impl<T> Apart<T> {
    pub(crate) fn new(transport: T, run: impl Into<String>) -> Self {
        Self {
            transport,
            run: run.into(),
        }
    }

    fn name(&self, name: &str) -> String {
        // The empty name is the broker's default exchange, which is everybody's.
        if name.is_empty() {
            String::new()
        } else {
            format!("{name}.{}", self.run)
        }
    }

    fn topology(&self, topology: &Topology) -> Topology {
        Topology {
            exchanges: topology
                .exchanges
                .iter()
                .map(|exchange| self.exchange(exchange))
                .collect(),
            queues: topology
                .queues
                .iter()
                .map(|queue| self.queue(queue))
                .collect(),
            bindings: topology
                .bindings
                .iter()
                .map(|binding| self.binding(binding))
                .collect(),
        }
    }

    fn exchange(&self, exchange: &Exchange) -> Exchange {
        Exchange {
            name: self.name(&exchange.name),
            auto_delete: true,
            alternate: exchange.alternate.as_deref().map(|name| self.name(name)),
            ..exchange.clone()
        }
    }

    fn queue(&self, queue: &Queue) -> Queue {
        let dead_letter = |to: &DeadLetter| DeadLetter {
            exchange: self.name(&to.exchange),
            // By the default exchange the key is the name of a queue.
            routing_key: to
                .routing_key
                .as_deref()
                .map(|key| match to.exchange.as_str() {
                    "" => self.name(key),
                    _ => key.to_owned(),
                }),
        };
        Queue {
            name: self.name(&queue.name),
            expires: queue.expires.or(Some(LINGER)),
            dead_letter: queue.dead_letter.as_ref().map(dead_letter),
            ..queue.clone()
        }
    }

    fn binding(&self, binding: &Binding) -> Binding {
        Binding {
            source: self.name(&binding.source),
            destination: match &binding.destination {
                Node::Queue(name) => Node::Queue(self.name(name)),
                Node::Exchange(name) => Node::Exchange(self.name(name)),
            },
            ..binding.clone()
        }
    }

    fn target(&self, target: &Target) -> Target {
        let name = Cow::Owned(self.name(target.name()));
        match target {
            Target::Exchange { topology, .. } => {
                let topology = topology
                    .as_ref()
                    .map(|topology| Arc::new(self.topology(topology)));
                Target::Exchange { name, topology }
            }
            Target::Queue(_) => Target::Queue(name),
            Target::Inbox(_) => Target::Inbox(name),
        }
    }
}

#[async_trait]
impl<T: Transport> Transport for Apart<T> {
    async fn connect(&self) -> Result<(), TransportError> {
        self.transport.connect().await
    }

    async fn declare(&self, topology: &Topology) -> Result<(), TransportError> {
        self.transport.declare(&self.topology(topology)).await
    }

    async fn send(&self, mut outgoing: Outgoing) -> Result<(), TransportError> {
        outgoing.target = self.target(&outgoing.target);
        self.transport.send(outgoing).await
    }

    async fn cancel(&self, token: ScheduleToken) -> Result<bool, TransportError> {
        self.transport.cancel(token).await
    }

    async fn listen(&self, mut spec: ListenSpec) -> Result<Arc<dyn Listener>, TransportError> {
        spec.queue = self.name(&spec.queue);
        spec.topology = Arc::new(self.topology(&spec.topology));
        self.transport.listen(spec).await
    }

    fn check(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        self.transport.check(outgoing)
    }

    async fn find_exchange(&self, name: &str) -> Result<(), TransportError> {
        self.transport.find_exchange(&self.name(name)).await
    }

    fn health_changes(&self) -> watch::Receiver<()> {
        self.transport.health_changes()
    }

    fn base_address(&self) -> String {
        self.transport.base_address()
    }

    fn entity_name(&self, message_type: &MessageType) -> Cow<'_, str> {
        self.transport.entity_name(message_type)
    }

    fn check_name(&self, name: &str) -> Result<(), InvalidName> {
        self.transport.check_name(&self.name(name))
    }

    fn reply_inbox(&self, name: &str) -> ReplyInbox {
        self.transport.reply_inbox(name)
    }

    fn capabilities(&self) -> Capabilities {
        self.transport.capabilities()
    }

    fn mistakes(&self) -> Vec<String> {
        self.transport.mistakes()
    }

    fn health(&self) -> Health {
        self.transport.health()
    }

    async fn close(&self) {
        self.transport.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use bus_core::Bus;
    use bus_inmemory::InMemory;
    use samples::client;
    use samples::contracts::{CreateInvoice, INVOICE_SERVICE};

    use super::*;

    async fn order(broker: &InMemory, run: &str) -> Result<(), Box<dyn Error>> {
        let bus = Bus::builder(Apart::new(broker.clone(), run))
            .route::<CreateInvoice>(format!("queue:{INVOICE_SERVICE}").as_str())
            .start()
            .await?;
        bus.send(&client::orders(1)[0]).await?;
        Ok(bus.shutdown().await?)
    }

    #[tokio::test]
    async fn runs_on_one_broker_do_not_meet() -> Result<(), Box<dyn Error>> {
        let broker = InMemory::new();
        order(&broker, "a").await?;
        order(&broker, "b").await?;
        order(&broker, "b").await?;
        assert_eq!(broker.waiting("invoice-service.a"), Some(1));
        assert_eq!(broker.waiting("invoice-service.b"), Some(2));
        assert_eq!(broker.waiting("invoice-service"), None);
        Ok(())
    }

    #[test]
    fn what_is_declared_goes_away_by_itself() {
        let topology = Topology {
            exchanges: vec![Exchange::fanout("events")],
            queues: vec![Queue::classic("work")],
            bindings: vec![Binding::new("events", Node::Queue("work".into()))],
        };
        let apart = Apart::new(InMemory::new(), "a").topology(&topology);
        assert_eq!(apart.exchanges[0].name, "events.a");
        assert!(apart.exchanges[0].auto_delete);
        assert_eq!(apart.queues[0].expires, Some(LINGER));
        assert_eq!(
            apart.bindings,
            [Binding::new("events.a", Node::Queue("work.a".into()))]
        );
    }
}
