//! The batches of one consumer that collect messages.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, oneshot};

use super::consumer::BatchConsumer;
use super::run::{Waiting, run};
use super::settings::{Batching, KeyOf};
use crate::consume::{BatchLimits, ConsumeContext, Consumer, Slots};
use crate::error::{ConsumeError, ConsumeResult};
use crate::message::Message;

/// Collects messages, and has them consumed in tasks of their own.
///
/// A batch outlives each of its deliveries: one that is dropped leaves it, and ends no other.
pub(super) struct Collector<M, K, C> {
    consumer: C,
    limits: BatchLimits,
    key: Arc<KeyOf<M, K>>,
    open: Mutex<OpenBatches<M, K>>,
    /// Permits of the batches that are consumed at once.
    turns: Semaphore,
    /// Messages in batches, those that are consumed included.
    present: AtomicUsize,
}

type OpenBatches<M, K> = HashMap<Arc<K>, Arc<OpenBatch<M, K>>>;

/// A batch that others may join.
struct OpenBatch<M, K> {
    key: Arc<K>,
    members: Mutex<Vec<Waiting<M>>>,
    /// Notified when nothing more is to be waited for.
    due: Notify,
}

impl<M, K, C> Collector<M, K, C>
where
    M: Message,
    K: Eq + Hash + Send + Sync + 'static,
    C: BatchConsumer<M>,
{
    pub(super) fn new(batching: Batching<M, K>, consumer: C) -> Self {
        let parallel = batching.limits.parallel.min(Semaphore::MAX_PERMITS);
        Self {
            consumer,
            limits: batching.limits,
            key: batching.key,
            open: Mutex::default(),
            turns: Semaphore::new(parallel),
            present: AtomicUsize::new(0),
        }
    }

    /// Lets a message join a batch; returns where its outcome comes.
    fn add(self: &Arc<Self>, context: ConsumeContext<M>) -> oneshot::Receiver<ConsumeResult> {
        let received = Arc::clone(context.received());
        // Before anything is locked or counted, as it may panic.
        let key = (!received.progress.is_apart()).then(|| (self.key)(&context));
        let (outcome, decided) = oneshot::channel();
        let waiting = Waiting { context, outcome };
        let present = self.present.fetch_add(1, Ordering::SeqCst) + 1;
        let slots = received.slot.slots();
        match key {
            Some(key) => self.join(key, waiting, slots),
            None => drop(tokio::spawn(Arc::clone(self).consume_alone(waiting))),
        }
        if present >= slots.limit() {
            // All slots are held here: nothing can join any batch before one has ended.
            self.lock()
                .values()
                .for_each(|batch| batch.due.notify_one());
        }
        decided
    }

    fn join(self: &Arc<Self>, key: K, waiting: Waiting<M>, slots: &Arc<Slots>) {
        let mut open = self.lock();
        let batch = match open.get(&key) {
            Some(batch) => Arc::clone(batch),
            None => self.begin(&mut open, key, slots),
        };
        let mut members = lock(&batch.members);
        members.push(waiting);
        if members.len() >= self.limits.size {
            open.remove(&batch.key);
            batch.due.notify_one();
        }
    }

    fn begin(
        self: &Arc<Self>,
        open: &mut OpenBatches<M, K>,
        key: K,
        slots: &Arc<Slots>,
    ) -> Arc<OpenBatch<M, K>> {
        let key = Arc::new(key);
        let batch = Arc::new(OpenBatch {
            key: Arc::clone(&key),
            members: Mutex::default(),
            due: Notify::new(),
        });
        open.insert(key, Arc::clone(&batch));
        tokio::spawn(Arc::clone(self).complete(Arc::clone(&batch), Arc::clone(slots)));
        batch
    }

    /// Waits until a batch is complete and it is its turn, and has it consumed.
    async fn complete(self: Arc<Self>, batch: Arc<OpenBatch<M, K>>, slots: Arc<Slots>) {
        tokio::select! {
            () = batch.due.notified() => {}
            () = slots.leaving() => {}
            () = tokio::time::sleep(self.limits.time) => {}
        }
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let members = self.close(&batch);
        self.consume(members).await;
    }

    async fn consume_alone(self: Arc<Self>, waiting: Waiting<M>) {
        let _turn = self.turns.acquire().await;
        self.consume(vec![waiting]).await;
    }

    /// Lets nothing join a batch any more; returns its members.
    fn close(&self, batch: &Arc<OpenBatch<M, K>>) -> Vec<Waiting<M>> {
        let mut open = self.lock();
        // A full one has made room for the next of its key already.
        if open
            .get(&batch.key)
            .is_some_and(|other| Arc::ptr_eq(other, batch))
        {
            open.remove(&batch.key);
        }
        std::mem::take(&mut *lock(&batch.members))
    }

    async fn consume(&self, mut members: Vec<Waiting<M>>) {
        let count = members.len();
        members.retain(|member| !member.has_left());
        let outcomes = run(&self.consumer, members).await;
        // First: a delivery that has its outcome makes room for the next one at once.
        self.present.fetch_sub(count, Ordering::SeqCst);
        if let Some(outcomes) = outcomes {
            outcomes.hand_over();
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenBatches<M, K>> {
        lock(&self.open)
    }
}

/// The consumer of single messages that waits for the outcome of each.
pub(super) struct Collecting<M, K, C>(pub(super) Arc<Collector<M, K, C>>);

impl<M, K, C> Consumer<M> for Collecting<M, K, C>
where
    M: Message,
    K: Eq + Hash + Send + Sync + 'static,
    C: BatchConsumer<M>,
{
    async fn consume(&self, ctx: ConsumeContext<M>) -> ConsumeResult {
        let outcome = self.0.add(ctx).await;
        // The task of the batch ends without an outcome with its runtime only.
        outcome.unwrap_or_else(|_| Err(ConsumeError::cancelled()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
