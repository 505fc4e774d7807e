//! What the broker has confirmed, seen by an observer of the bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::observe::{Observer, PostSend};
use tokio::sync::Notify;

/// Counts the messages that the broker has confirmed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confirms(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    confirmed: AtomicUsize,
    awaited: AtomicUsize,
    reached: Notify,
}

impl Confirms {
    /// Waits until so many messages are confirmed, since the beginning. For one task at a time.
    pub(crate) async fn reach(&self, count: usize) {
        self.0.awaited.store(count, Ordering::SeqCst);
        while self.0.confirmed.load(Ordering::SeqCst) < count {
            self.0.reached.notified().await;
        }
    }
}

impl Observer for Confirms {
    fn post_send(&self, _: &PostSend<'_>) {
        let confirmed = self.0.confirmed.fetch_add(1, Ordering::SeqCst) + 1;
        if confirmed == self.0.awaited.load(Ordering::SeqCst) {
            self.0.reached.notify_one();
        }
    }
}
