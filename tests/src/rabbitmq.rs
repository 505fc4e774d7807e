//! RabbitMQ as a test broker.

use std::sync::Arc;

use async_trait::async_trait;
use bus_core::transport::Transport;
use bus_core::{Bus, BusBuilder};
use bus_rabbitmq::RabbitMq;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use bus_conformance::TestBroker;
use bus_conformance::support::unique_id;
use bus_conformance::support::until;

/// A broker that several test brokers share; what they declare has names of their own.
#[derive(Debug)]
pub struct RabbitMqTestBroker {
    url: String,
    observer: Connection,
    id: String,
}

impl RabbitMqTestBroker {
    /// A test broker on the broker at this address.
    ///
    /// # Panics
    /// If there is none.
    pub async fn at(url: &str) -> Self {
        let observer = Connection::connect(url, ConnectionProperties::default());
        Self {
            url: url.to_owned(),
            observer: observer.await.expect("a broker at the address"),
            id: unique_id(),
        }
    }
}

impl RabbitMqTestBroker {
    /// How deep a queue is, if it is there. Nothing, if the answer was to another question: looking for a queue that is
    /// not there ends the channel, and the client may give that error to the next channel with the same number.
    async fn look(&self, queue: &str) -> Option<Option<u32>> {
        let channel = self.observer.create_channel().await.ok()?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default());
        match found.await {
            Ok(found) => {
                let _ = channel.close(200, "done".into()).await;
                Some(Some(found.message_count()))
            }
            Err(error) => {
                let answer = error.to_string();
                answer.contains(&format!("'{queue}'")).then_some(None)
            }
        }
    }
}

#[async_trait]
impl TestBroker for RabbitMqTestBroker {
    fn builder(&self) -> BusBuilder {
        Bus::builder(RabbitMq::new(&self.url))
    }

    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(RabbitMq::new(&self.url))
    }

    async fn depth(&self, queue: &str) -> Option<u32> {
        until("an answer about a queue", async || self.look(queue).await).await
    }

    fn id(&self) -> &str {
        &self.id
    }
}
