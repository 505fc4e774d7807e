//! A message that was handed out, and the right to settle it once.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::Incoming;

/// One delivery: the message and the right to settle it once.
#[derive(Debug)]
pub struct Delivery {
    /// What came.
    pub incoming: Incoming,
    /// Settles it.
    pub receipt: Receipt,
}

/// The right to settle one delivery, once. Dropped unsettled, it requeues.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use bus_core::transport::{Acker, Receipt, Settlement};
///
/// #[derive(Debug, Default)]
/// struct Journal(Mutex<Vec<(u64, Settlement)>>);
/// impl Acker for Journal {
///     fn settle(&self, tag: u64, settlement: Settlement) {
///         self.0.lock().unwrap().push((tag, settlement));
///     }
/// }
///
/// let journal = Arc::new(Journal::default());
/// Receipt::new(journal.clone(), 1).settle(Settlement::Ack);
/// drop(Receipt::new(journal.clone(), 2));
/// assert_eq!(*journal.0.lock().unwrap(), [(1, Settlement::Ack), (2, Settlement::Requeue)]);
/// ```
#[derive(Debug)]
pub struct Receipt {
    acker: Option<Arc<dyn Acker>>,
    tag: u64,
}

impl Receipt {
    /// A receipt for the delivery that `acker` knows as `tag`.
    pub fn new(acker: Arc<dyn Acker>, tag: u64) -> Self {
        Self {
            acker: Some(acker),
            tag,
        }
    }

    /// Settles; never waits.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, settlement);
        }
    }

    /// Acknowledges and waits until the broker knows. `false` if it cannot be told any more: the message comes again.
    ///
    /// For at-most-once handling, which must not begin before.
    pub async fn acknowledge(mut self) -> bool {
        match self.acker.take() {
            Some(acker) => acker.acknowledge(self.tag).await,
            None => false,
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, Settlement::Requeue);
        }
    }
}

/// Takes settlements; a transport's side of a [`Receipt`].
#[async_trait]
pub trait Acker: Send + Sync + fmt::Debug {
    /// Queues the settlement and returns at once. Called at most once for each tag. A tag of a channel that is gone is
    /// dropped, never applied to a newer channel.
    fn settle(&self, tag: u64, settlement: Settlement);

    /// Acknowledges, and waits until the broker has processed it; `false` if the channel is gone. An acker whose [`settle`](Self::settle) takes effect at once needs nothing else.
    async fn acknowledge(&self, tag: u64) -> bool {
        self.settle(tag, Settlement::Ack);
        true
    }
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done: the broker forgets it.
    Ack,
    /// Back to the queue, marked as redelivered.
    Requeue,
}
