//! Queues that senders have found or declared.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus_core::transport::TransportError;

use super::{ensure_queue, queue_exists};
use crate::connection::Live;

/// Time for which a deleted queue is left to its owner, who knows its kind.
///
/// It is a little longer than an endpoint takes to declare its queue again without a report of the
/// loss.
const OWNER: Duration = Duration::from_secs(6);

/// Interval at which the queue is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// Names of the queues that were declared or found before, on any connection.
///
/// Shared by the senders of a transport.
#[derive(Clone, Default)]
pub(crate) struct KnownQueues(Arc<Mutex<HashSet<String>>>);

impl KnownQueues {
    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the owner of a queue that is gone, for [`OWNER`] at most.
    ///
    /// Only of one that was there before. A sender declares a classic queue. In place of a quorum
    /// queue, it would keep the endpoint from its messages.
    pub(crate) async fn leave_to_owner(
        &self,
        live: &Live,
        name: &str,
    ) -> Result<(), TransportError> {
        if !self.names().contains(name) {
            return Ok(());
        }
        let appears = async {
            while !queue_exists(live, name).await? {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(OWNER, appears).await.unwrap_or(Ok(()))
    }

    /// Notes that a queue is there.
    pub(crate) fn note(&self, name: &str) {
        self.names().insert(name.to_owned());
    }

    /// Ensures that a queue exists, as a send to it does.
    pub(crate) async fn ensure(&self, live: &Live, name: &str) -> Result<(), TransportError> {
        self.leave_to_owner(live, name).await?;
        ensure_queue(live, name).await?;
        self.note(name);
        Ok(())
    }
}
