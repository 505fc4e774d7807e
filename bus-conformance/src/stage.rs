//! One transport under test.

use std::sync::Arc;

use async_trait::async_trait;
use bus_core::transport::Transport;
use bus_core::{Bus, BusBuilder};

use crate::support::contracts::apart;
use crate::support::{Rig, Rigged, Wire};

/// A broker to run one behaviour against, and what the test must know that no bus tells.
///
/// A dyn trait, so that each behaviour is compiled once and not once for each transport.
#[async_trait]
pub trait Stage: Send + Sync {
    /// A bus on a new connection to the broker.
    fn builder(&self) -> BusBuilder;

    /// A new connection to the broker, for raw messages.
    fn transport(&self) -> Arc<dyn Transport>;

    /// How many messages wait in a queue, not counting those handed out; `None` if there is no such queue.
    async fn depth(&self, queue: &str) -> Option<u32>;

    /// Tells this stage from all others that share its broker.
    fn id(&self) -> &str;
}

impl dyn Stage + '_ {
    /// A bus on a new connection, whose [contracts](crate::support::contracts) meet only those of the same stage.
    pub fn bus(&self) -> BusBuilder {
        apart(self.builder(), self.id())
    }

    /// The same, on a transport on which things go wrong.
    pub fn rigged<R: Rig>(&self, rig: &Arc<R>) -> BusBuilder {
        let transport = Rigged {
            inner: self.transport(),
            rig: Arc::clone(rig),
        };
        apart(Bus::builder(transport), self.id())
    }

    /// A name that nobody else on the broker has; the same for the same purpose.
    pub fn name(&self, purpose: &str) -> String {
        format!("{purpose}-{}", self.id())
    }

    /// A new connection, for raw messages.
    pub async fn wire(&self) -> Wire {
        Wire::connect(self.transport()).await
    }
}
