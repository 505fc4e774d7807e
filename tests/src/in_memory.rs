//! The in-memory transport as a test broker.

use std::sync::Arc;

use async_trait::async_trait;
use bus_core::transport::Transport;
use bus_core::{Bus, BusBuilder};
use bus_inmemory::InMemory;

use bus_conformance::TestBroker;
use bus_conformance::support::{renamed, unique_id};

/// A broker in the process, of its own for each test broker.
#[derive(Debug)]
pub struct InMemoryTestBroker {
    inner: InMemory,
    id: String,
}

impl InMemoryTestBroker {
    /// A broker without any queue.
    pub fn new() -> Self {
        Self {
            inner: InMemory::new(),
            id: unique_id(),
        }
    }
}

impl Default for InMemoryTestBroker {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl TestBroker for InMemoryTestBroker {
    fn builder(&self) -> BusBuilder {
        Bus::builder(self.inner.clone())
    }

    fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.inner.clone())
    }

    async fn depth(&self, queue: &str) -> Option<u32> {
        let waiting = self.inner.waiting(queue)?;
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
pub struct RenamedTestBroker(InMemoryTestBroker);

#[async_trait]
impl TestBroker for RenamedTestBroker {
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
