//! Batch consumer that records its calls for the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::ConsumeResult;
use bus_core::batch::{Batch, BatchConsumer};
use tokio::sync::{Mutex, mpsc};

use super::contracts::Place;
use super::wait::within;

type Decide = dyn Fn(&Batch<Place>) -> ConsumeResult + Send + Sync;

/// Records the numbers of every batch, then decides its outcome.
///
/// Clones share the record.
#[derive(Clone)]
pub(crate) struct Batches {
    decide: Arc<Decide>,
    calls: Arc<AtomicUsize>,
    record: mpsc::UnboundedSender<Vec<u32>>,
    unread: Arc<Mutex<mpsc::UnboundedReceiver<Vec<u32>>>>,
}

impl Batches {
    /// A consumer that always succeeds.
    pub(crate) fn new() -> Self {
        Self::deciding(|_| Ok(()))
    }

    /// A consumer that ends as `decide` says.
    pub(crate) fn deciding(
        decide: impl Fn(&Batch<Place>) -> ConsumeResult + Send + Sync + 'static,
    ) -> Self {
        let (record, unread) = mpsc::unbounded_channel();
        Self {
            decide: Arc::new(decide),
            calls: Arc::default(),
            record,
            unread: Arc::new(Mutex::new(unread)),
        }
    }

    pub(crate) fn consumer(&self) -> impl BatchConsumer<Place> + use<> {
        let batches = self.clone();
        move |batch: Batch<Place>| {
            batches.note(&batch);
            let outcome = (batches.decide)(&batch);
            async move { outcome }
        }
    }

    /// Records a call of another consumer.
    pub(crate) fn note(&self, batch: &Batch<Place>) {
        let mut numbers: Vec<_> = batch.messages().map(|place| place.number).collect();
        numbers.sort_unstable();
        self.calls.fetch_add(1, Ordering::SeqCst);
        // The receiver lives as long as `self`.
        let _ = self.record.send(numbers);
    }

    /// Returns the number of calls.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The numbers of the next batches with so many messages, sorted.
    pub(crate) async fn take(&self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.extend(self.next().await);
        }
        numbers.sort_unstable();
        numbers
    }

    /// The numbers of the next batch that was not looked at yet, sorted.
    pub(crate) async fn next(&self) -> Vec<u32> {
        let mut unread = self.unread.lock().await;
        let next = within("a batch", unread.recv()).await;
        next.expect("the sender lives as long as the receiver")
    }
}
