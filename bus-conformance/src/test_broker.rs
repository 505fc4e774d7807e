//! One transport under test.

use std::sync::Arc;

use async_trait::async_trait;
use bus_core::transport::{Capability, Transport};
use bus_core::{Bus, BusBuilder, Endpoint, StartError};

use crate::support::contracts::apart;
use crate::support::{Rig, Rigged, Wire, becomes};

/// Broker to run one behaviour against, implemented for each transport.
///
/// A dyn trait, so that each behaviour is compiled once and not once for each transport. Several
/// may share a broker: queues, and the exchanges of the suite's contracts, carry the id of each.
///
/// The [front page](crate) of the crate has an example.
#[async_trait]
pub trait TestBroker: Send + Sync {
    /// Returns a bus on a new connection to the broker.
    ///
    /// A transport of its own: the bus closes it when it is shut down.
    fn builder(&self) -> BusBuilder;

    /// Returns a new connection to the broker, for raw messages.
    fn transport(&self) -> Arc<dyn Transport>;

    /// Counts the messages that wait in a queue; `None` if there is no such queue.
    ///
    /// Messages that were handed out and are not settled do not count, nor do those that the
    /// transport holds ahead of [`Listener::next`](bus_core::transport::Listener::next).
    async fn depth(&self, queue: &str) -> Option<u32>;

    /// Returns an id that no other test broker on the same broker has.
    ///
    /// [`unique_id`](crate::support::unique_id) makes one.
    fn id(&self) -> &str;
}

impl dyn TestBroker + '_ {
    /// Returns a bus whose [contracts](crate::support::contracts) meet only those of
    /// this test broker.
    pub fn bus(&self) -> BusBuilder {
        apart(self.builder(), self.id())
    }

    /// The same, on a transport with the faults of `rig`.
    pub fn rigged<R: Rig>(&self, rig: &Arc<R>) -> BusBuilder {
        let transport = Rigged {
            inner: self.transport(),
            rig: Arc::clone(rig),
        };
        apart(Bus::builder(transport), self.id())
    }

    /// Starts a bus with one endpoint.
    pub async fn start(&self, endpoint: Endpoint) -> Result<Bus, StartError> {
        self.bus().endpoint(endpoint).start().await
    }

    /// Returns a name that no other test broker has; the same for the same purpose.
    pub fn name(&self, purpose: &str) -> String {
        format!("{purpose}-{}", self.id())
    }

    /// Waits until exactly `count` messages wait in a queue.
    pub async fn until_depth(&self, queue: &str, count: u32) {
        let what = format!("the number of messages that wait in `{queue}`");
        becomes(&what, &Some(count), || self.depth(queue)).await;
    }

    /// Waits until the messages of a queue are handed out ahead of their consumers.
    ///
    /// Returns at once on a transport that does not claim [`Capability::Prefetch`].
    pub async fn until_prefetched(&self, queue: &str) {
        if self.transport().capabilities().has(Capability::Prefetch) {
            self.until_depth(queue, 0).await;
        }
    }

    /// Opens a new connection, for raw messages.
    pub async fn wire(&self) -> Wire {
        Wire::connect(self.transport()).await
    }
}
