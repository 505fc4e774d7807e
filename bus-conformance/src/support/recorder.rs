//! Consumer that records its calls for the test.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::{ConsumeContext, ConsumeResult, Consumer};
use tokio::sync::{Mutex, mpsc};

use super::contracts::{LAST, Numbered};
use super::wait::within;

/// Records every call, then decides its outcome. Clones share the record.
///
/// A negative assertion ends with a sentinel: a message numbered [`LAST`], sent after everything
/// that must not arrive, on an endpoint of concurrency 1.
pub struct Recorder<M> {
    inner: Arc<Inner<M>>,
}

type Outcome<M> = dyn Fn(&ConsumeContext<M>) -> ConsumeResult + Send + Sync;

struct Inner<M> {
    outcome: Box<Outcome<M>>,
    calls: AtomicUsize,
    record: mpsc::UnboundedSender<ConsumeContext<M>>,
    unread: Mutex<mpsc::UnboundedReceiver<ConsumeContext<M>>>,
}

impl<M: Send + Sync + 'static> Recorder<M> {
    /// A consumer that always succeeds.
    pub fn new() -> Self {
        Self::deciding(|_| Ok(()))
    }

    /// A consumer that always fails with the text `broken`.
    pub fn failing() -> Self {
        Self::deciding(|_| Err("broken".into()))
    }

    /// A consumer that ends as `outcome` says.
    pub fn deciding(
        outcome: impl Fn(&ConsumeContext<M>) -> ConsumeResult + Send + Sync + 'static,
    ) -> Self {
        let (record, unread) = mpsc::unbounded_channel();
        let inner = Inner {
            outcome: Box::new(outcome),
            calls: AtomicUsize::new(0),
            record,
            unread: Mutex::new(unread),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Records a call of another consumer.
    pub fn note(&self, ctx: &ConsumeContext<M>) {
        self.inner.calls.fetch_add(1, Ordering::SeqCst);
        // The receiver lives as long as the recorder.
        let _ = self.inner.record.send(ctx.clone());
    }

    /// Returns a consumer that records each call here, then runs `consume`.
    pub fn then<F, Fut>(&self, consume: F) -> impl Consumer<M> + use<M, F, Fut>
    where
        F: Fn(ConsumeContext<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ConsumeResult> + Send,
    {
        let recorder = self.clone();
        move |ctx: ConsumeContext<M>| {
            recorder.note(&ctx);
            consume(ctx)
        }
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> usize {
        self.inner.calls.load(Ordering::SeqCst)
    }

    /// The next call that was not looked at yet.
    pub async fn next(&self) -> ConsumeContext<M> {
        let mut unread = self.inner.unread.lock().await;
        let what = format!("a {}", std::any::type_name::<M>());
        within(&what, unread.recv())
            .await
            .expect("the recorder holds its own sender")
    }

    /// The next so many calls.
    pub async fn take(&self, count: usize) -> Vec<ConsumeContext<M>> {
        let mut calls = Vec::with_capacity(count);
        while calls.len() < count {
            calls.push(self.next().await);
        }
        calls
    }
}

impl<M: Numbered> Recorder<M> {
    /// The calls before the sentinel.
    pub async fn until_last(&self) -> Vec<ConsumeContext<M>> {
        let mut calls = Vec::new();
        loop {
            let call = self.next().await;
            if call.message().number() == LAST {
                return calls;
            }
            calls.push(call);
        }
    }
}

/// The numbers of recorded messages, sorted.
pub fn numbers<M: Numbered>(calls: &[ConsumeContext<M>]) -> Vec<u32> {
    let mut numbers: Vec<_> = calls.iter().map(|call| call.message().number()).collect();
    numbers.sort_unstable();
    numbers
}

impl<M: Send + Sync + 'static> Consumer<M> for Recorder<M> {
    async fn consume(&self, ctx: ConsumeContext<M>) -> ConsumeResult {
        self.note(&ctx);
        (self.inner.outcome)(&ctx)
    }
}

impl<M: Send + Sync + 'static> Default for Recorder<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> Clone for Recorder<M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<M> fmt::Debug for Recorder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("calls", &self.inner.calls)
            .finish_non_exhaustive()
    }
}

/// A consumer from an async closure that gets a clone of `state` at each call.
pub fn with<S, M, F, Fut>(state: S, consume: F) -> impl Consumer<M>
where
    S: Clone + Send + Sync + 'static,
    M: Send + Sync + 'static,
    F: Fn(S, ConsumeContext<M>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ConsumeResult> + Send,
{
    move |ctx: ConsumeContext<M>| consume(state.clone(), ctx)
}
