//! RabbitMQ as a stage.

use std::sync::Arc;

use async_trait::async_trait;
use bus_core::transport::Transport;
use bus_core::{Bus, BusBuilder};
use bus_rabbitmq::RabbitMq;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use crate::stage::{Stage, new_id};

/// A broker that several stages share; what they declare has names of their own.
#[derive(Debug)]
pub struct RabbitMqStage {
    url: String,
    observer: Connection,
    id: String,
}

impl RabbitMqStage {
    /// A stage on the broker at this address.
    ///
    /// # Panics
    /// If there is none.
    pub async fn at(url: &str) -> Self {
        let observer = Connection::connect(url, ConnectionProperties::default());
        Self {
            url: url.to_owned(),
            observer: observer.await.expect("a broker at the address"),
            id: new_id(),
        }
    }
}

#[async_trait]
impl Stage for RabbitMqStage {
    fn builder(&self) -> BusBuilder {
        Bus::builder(RabbitMq::new(&self.url))
    }

    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(RabbitMq::new(&self.url))
    }

    async fn depth(&self, queue: &str) -> Option<u32> {
        // Looking up a queue that is not there ends the channel.
        let channel = self.observer.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default());
        let depth = found.await.ok().map(|queue| queue.message_count());
        if depth.is_some() {
            let _ = channel.close(200, "done".into()).await;
        }
        depth
    }

    fn id(&self) -> &str {
        &self.id
    }
}
