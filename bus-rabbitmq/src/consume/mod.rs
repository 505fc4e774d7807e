//! Consumption of a queue, across losses of connection, channel and queue.

mod ack_window;
mod deliveries;
mod redeliveries;
mod settler;
mod stream;
mod subscription;

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus_core::transport::{
    Backoff, Delivery, Health, Incoming, ListenSpec, Listener, TransportError, TransportErrorKind,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::connection::Link;
use crate::topology::{self, Declarer};
use redeliveries::Redeliveries;
use stream::{Begin, Bookmark};
use subscription::Subscription;

/// Lifetime from which a subscription counts as a good one.
const GOOD: std::time::Duration = std::time::Duration::from_secs(10);

/// Listener that subscribes again until it is stopped.
#[derive(Debug)]
pub(crate) struct QueueListener {
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    link: Arc<Link>,
    config: Arc<Config>,
    spec: ListenSpec,
    /// Prefetch as it was set last.
    prefetch: AtomicU16,
    state: watch::Sender<State>,
    /// Position in the stream; `None` for other queues.
    bookmark: Mutex<Option<Bookmark>>,
    redeliveries: Redeliveries,
    /// `true` while the first subscription lasts.
    ///
    /// Messages that come back then were held by other processes, not lost with a connection of
    /// this one.
    is_first: AtomicBool,
    /// Reason for which the queue cannot be consumed, or its exchanges not be declared.
    trouble: Mutex<Option<String>>,
}

#[derive(Clone, Debug)]
enum State {
    /// Between two subscriptions.
    Waiting,
    On(Arc<Subscription>),
    /// Hands out nothing more; open deliveries can still be settled.
    Stopped(Option<Arc<Subscription>>),
}

impl QueueListener {
    /// Subscribes.
    ///
    /// Fails for what the broker refuses for good; waits for what is only absent.
    pub(crate) async fn start(
        link: Arc<Link>,
        config: Arc<Config>,
        spec: ListenSpec,
    ) -> Result<Arc<Self>, TransportError> {
        let (sender, state) = watch::channel(State::Waiting);
        let shared = Arc::new(Shared {
            link,
            config,
            bookmark: Mutex::new(Bookmark::of(&spec)),
            redeliveries: Redeliveries::of(&spec),
            is_first: AtomicBool::new(true),
            trouble: Mutex::default(),
            prefetch: AtomicU16::new(spec.prefetch),
            spec,
            state: sender,
        });
        let mut backoff = shared.config.backoff();
        let first = shared.subscribe(Attempt::First, &mut backoff).await?;
        shared.state.send_replace(State::On(Arc::clone(&first)));
        let keeper = tokio::spawn(keep(Arc::clone(&shared), first));
        Ok(Arc::new(Self {
            state,
            shared,
            keeper: Mutex::new(Some(keeper)),
        }))
    }

    /// Prevents further subscriptions; returns the last one.
    fn end(&self) -> Option<Arc<Subscription>> {
        let keeper = self
            .keeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
        let mut subscription = None;
        self.shared.state.send_modify(|state| {
            subscription = match state {
                State::Waiting => None,
                State::On(subscription) => Some(Arc::clone(subscription)),
                State::Stopped(subscription) => subscription.take(),
            };
            *state = State::Stopped(subscription.clone());
        });
        subscription
    }
}

#[async_trait]
impl Listener for QueueListener {
    async fn next(&self) -> Option<Result<Delivery, TransportError>> {
        let mut state = self.state.clone();
        loop {
            let subscription = match &*state.borrow_and_update() {
                State::On(subscription) => Some(Arc::clone(subscription)),
                State::Waiting => None,
                State::Stopped(_) => return None,
            };
            if let Some(subscription) = subscription
                && let Some(delivery) = subscription.next().await
            {
                return Some(Ok(delivery));
            }
            if state.changed().await.is_err() {
                return None;
            }
        }
    }

    async fn ready(&self) {
        let mut state = self.state.clone();
        let ready = |state: &State| match state {
            State::On(subscription) => !subscription.has_ended(),
            State::Waiting => false,
            State::Stopped(_) => true,
        };
        // The sender lives as long as `self`.
        let _ = state.wait_for(ready).await;
    }

    fn health(&self) -> Health {
        let trouble = self.shared.trouble().clone();
        let is_on =
            matches!(&*self.state.borrow(), State::On(subscription) if !subscription.has_ended());
        match trouble {
            Some(reason) if is_on => Health::Degraded(reason),
            Some(reason) => Health::Down(reason),
            None if is_on => Health::Up,
            None => Health::Down(match self.shared.link.down() {
                Some(reason) => format!("there is no connection to consume on: {reason}"),
                None => "the subscription is being made again".to_owned(),
            }),
        }
    }

    async fn redeliveries(&self, incoming: &Incoming) -> u32 {
        let shared = &self.shared;
        if !shared.is_first.load(Ordering::Acquire) {
            return 0;
        }
        let live = match &*self.state.borrow() {
            State::On(subscription) => Arc::clone(subscription.live()),
            _ => return 0,
        };
        let counted = shared.redeliveries.count(&live, incoming);
        match live.ask(counted).await {
            Ok(count) => count,
            Err(error) => {
                tracing::warn!(queue = shared.spec.queue, %error, "redeliveries cannot be counted");
                0
            }
        }
    }

    async fn set_prefetch(&self, count: u16) -> Result<(), TransportError> {
        let shared = &self.shared;
        if let Some(reason) = subscription::fixed_prefetch(&shared.spec) {
            return Err(TransportError::new(TransportErrorKind::Unsupported, reason));
        }
        shared.prefetch.store(count, Ordering::SeqCst);
        let State::On(subscription) = self.state.borrow().clone() else {
            return Ok(());
        };
        let shared = Arc::clone(shared);
        // Halfway the queue would stay without its consumer, if the caller stopped waiting.
        let set = tokio::spawn(async move { shared.apply_prefetch(&subscription).await });
        let _ = set.await;
        Ok(())
    }

    async fn stop(&self) {
        if let Some(subscription) = self.end() {
            subscription.stop().await;
        }
    }

    async fn close(&self) {
        if let Some(subscription) = self.end() {
            subscription.close().await;
        }
        self.shared.state.send_replace(State::Stopped(None));
    }
}

impl Drop for QueueListener {
    fn drop(&mut self) {
        let keeper = self
            .keeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
    }
}

impl Shared {
    /// Moves to the next state; returns `false` if the listener was stopped.
    ///
    /// An aborted keeper still runs to its next await.
    fn go_on(&self, next: State) -> bool {
        let goes_on = self.state.send_if_modified(|state| {
            let goes_on = !matches!(state, State::Stopped(_));
            if goes_on {
                *state = next;
            }
            goes_on
        });
        self.link.health_changed();
        goes_on
    }

    /// Waits for the connection and subscribes.
    async fn subscribe(
        &self,
        attempt: Attempt,
        backoff: &mut Backoff,
    ) -> Result<Arc<Subscription>, TransportError> {
        // The queue may be gone.
        let mut declare = attempt == Attempt::Again;
        loop {
            let live = self.link.up().await?;
            let begin = self.begin(attempt);
            let subscribed = async {
                if declare {
                    topology::declare(&live, &self.spec.topology).await?;
                }
                Subscription::open(Arc::clone(&live), &self.spec(), begin).await
            };
            match live.ask(subscribed).await {
                Ok(subscription) => {
                    self.set_trouble(None);
                    return Ok(subscription);
                }
                Err(error) if attempt == Attempt::Again || error.kind().is_transient() => {
                    tracing::warn!(queue = self.spec.queue, %error, "the queue cannot be consumed yet");
                    self.set_trouble(Some(error.to_string()));
                    self.link.suspect();
                }
                Err(error) => return Err(error),
            }
            declare = true;
            backoff.wait().await;
        }
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_trouble(&self, trouble: Option<String>) {
        let mut now = self.trouble();
        if *now != trouble {
            *now = trouble;
            drop(now);
            self.link.health_changed();
        }
    }

    /// Settings of a subscription that is made now.
    fn spec(&self) -> ListenSpec {
        ListenSpec {
            prefetch: self.prefetch.load(Ordering::SeqCst),
            ..self.spec.clone()
        }
    }

    /// Gives a subscription the prefetch that was set last.
    async fn apply_prefetch(&self, subscription: &Subscription) {
        subscription.set_prefetch(&self.spec()).await;
    }

    /// Position at which to begin in a stream.
    fn begin(&self, attempt: Attempt) -> Option<Begin> {
        let bookmark = self.bookmark();
        let bookmark = bookmark.as_ref()?;
        Some(match attempt {
            Attempt::First => bookmark.first(),
            Attempt::Again => bookmark.again(),
        })
    }

    fn bookmark(&self) -> std::sync::MutexGuard<'_, Option<Bookmark>> {
        self.bookmark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Declares again from time to time while the subscription lasts.
    ///
    /// An exchange that is deleted takes its bindings with it, and the broker reports that only to
    /// those who publish to it.
    async fn keep_bound(&self, subscription: &Subscription) {
        let topology = &self.spec.topology;
        if topology.bindings.is_empty() {
            return subscription.ended().await;
        }
        let mut entities = Declarer::new(subscription.live());
        // Half of the interval to all of it, so that many endpoints do not ask in step.
        let mut pause = Backoff::new(self.config.rebind, self.config.rebind);
        let ended = subscription.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                () = &mut ended => return,
                () = pause.wait() => {}
            }
            let declaring = subscription.live().ask(entities.declare(topology));
            let outcome = tokio::select! {
                () = &mut ended => return,
                outcome = declaring => outcome,
            };
            if let (Err(error), None) = (&outcome, &*self.trouble()) {
                tracing::warn!(queue = self.spec.queue, %error, "the exchanges and bindings of the queue cannot be declared again");
            }
            self.set_trouble(outcome.err().map(|error| error.to_string()));
        }
    }
}

/// Distinguishes the first subscription from later ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

/// Subscribes again after each loss, until the listener is stopped.
async fn keep(shared: Arc<Shared>, mut subscription: Arc<Subscription>) {
    let mut backoff = shared.config.backoff();
    loop {
        let since = Instant::now();
        // It may have been set while the subscription was made.
        shared.apply_prefetch(&subscription).await;
        shared.keep_bound(&subscription).await;
        if !shared.go_on(State::Waiting) {
            return;
        }
        tracing::warn!(
            queue = shared.spec.queue,
            "the subscription is lost; it will be made again"
        );
        shared.is_first.store(false, Ordering::Release);
        shared.link.suspect();
        if let Some(bookmark) = &mut *shared.bookmark() {
            bookmark.note(subscription.stream_position());
        }
        if since.elapsed() >= GOOD || subscription.live().is_lost() {
            backoff.reset();
        } else {
            // One that is made and ends at once must not be made again at once.
            backoff.wait().await;
        }
        if subscription.is_open() {
            subscription.close().await;
        }
        let Ok(again) = shared.subscribe(Attempt::Again, &mut backoff).await else {
            // The link is closed: nothing comes any more.
            shared.go_on(State::Stopped(None));
            return;
        };
        if !shared.go_on(State::On(Arc::clone(&again))) {
            return again.close().await;
        }
        tracing::info!(queue = shared.spec.queue, "the queue is consumed again");
        subscription = again;
    }
}
