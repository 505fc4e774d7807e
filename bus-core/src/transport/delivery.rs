//! A message that was handed out, and the right to settle it once.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::Incoming;

/// One delivery: the message and the right to settle it once.
#[derive(Debug)]
pub struct Delivery {
    /// The message that came.
    pub incoming: Incoming,
    /// Receipt that settles it, once.
    pub receipt: Receipt,
}

/// The right to settle one delivery, once.
///
/// Dropped unsettled, it requeues the delivery.
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
    /// Creates a receipt for the delivery that `acker` knows as `tag`.
    pub fn new(acker: Arc<dyn Acker>, tag: u64) -> Self {
        Self {
            acker: Some(acker),
            tag,
        }
    }

    /// Settles the delivery; never waits.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(acker) = self.acker.take() {
            acker.settle(self.tag, settlement);
        }
    }

    /// Acknowledges, and waits until the broker has processed it.
    ///
    /// Returns `false` if the acknowledgement can no longer reach the broker: the message is
    /// redelivered. For at-most-once handling, which must not begin before.
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

/// A transport's side of a [`Receipt`], which takes settlements.
#[async_trait]
pub trait Acker: Send + Sync + fmt::Debug {
    /// Queues the settlement and returns at once.
    ///
    /// Called at most once for each tag. A tag of a channel that is gone is dropped, never applied
    /// to a newer channel.
    fn settle(&self, tag: u64, settlement: Settlement);

    /// Acknowledges, and waits until the broker has processed it.
    ///
    /// Returns `false` if the channel is gone. Default: calls [`settle`](Self::settle) and returns
    /// `true`; an acker whose `settle` takes effect at once needs nothing else.
    async fn acknowledge(&self, tag: u64) -> bool {
        self.settle(tag, Settlement::Ack);
        true
    }
}

/// Outcome of a delivery.
///
/// A transport treats an outcome that it does not know like [`Requeue`](Self::Requeue), so that no
/// message is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// Acknowledges the message; a classic or quorum queue deletes it.
    Ack,
    /// Returns the message to the queue, marked as redelivered.
    Requeue,
}
