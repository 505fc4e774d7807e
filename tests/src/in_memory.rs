//! The in-memory transport as a stage.

use std::sync::Arc;

use async_trait::async_trait;
use bus_core::transport::Transport;
use bus_core::{Bus, BusBuilder};
use bus_inmemory::InMemory;

use bus_conformance::Stage;
use bus_conformance::support::{renamed, unique_id};

/// A broker in the process, of its own for each stage.
#[derive(Debug)]
pub struct InMemoryStage {
    broker: InMemory,
    id: String,
}

impl InMemoryStage {
    /// A broker without any queue.
    pub fn new() -> Self {
        Self {
            broker: InMemory::new(),
            id: unique_id(),
        }
    }
}

impl Default for InMemoryStage {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Stage for InMemoryStage {
    fn builder(&self) -> BusBuilder {
        Bus::builder(self.broker.clone())
    }

    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.broker.clone())
    }

    async fn depth(&self, queue: &str) -> Option<u32> {
        let waiting = self.broker.waiting(queue)?;
        Some(u32::try_from(waiting).unwrap_or(u32::MAX))
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// A broker in the process that names things otherwise than RabbitMQ.
///
/// Names have no `:` and at most 80 characters, and replies take another way.
#[derive(Debug, Default)]
pub struct RenamedStage(InMemoryStage);

#[async_trait]
impl Stage for RenamedStage {
    fn builder(&self) -> BusBuilder {
        Bus::builder(renamed(self.0.transport()))
    }

    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(renamed(self.0.transport()))
    }

    async fn depth(&self, queue: &str) -> Option<u32> {
        self.0.depth(queue).await
    }

    fn id(&self) -> &str {
        self.0.id()
    }
}
