//! The task that keeps a queue consumed.
//!
//! ```text
//!  subscribe ──► On: declare again each interval ──► ended ──► Waiting ──► back-off ─┐
//!      ▲                                                                             │
//!      └──────── wait for the connection, declare everything, consume ◄──────────────┘
//! ```

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_core::transport::{Backoff, ListenSpec, TransportError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::redeliveries::Redeliveries;
use super::stream::{Begin, Bookmark};
use super::subscription::Subscription;
use crate::config::Config;
use crate::connection::Link;
use crate::topology::{self, Declarer};

/// Lifetime from which a subscription counts as a good one.
///
/// One that ends sooner, on a connection that lives, is made again after a growing wait: its queue
/// may be deleted again and again, or its deliveries close the channel.
const GOOD: Duration = Duration::from_secs(10);

/// Parts that the listener and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) config: Arc<Config>,
    pub(super) spec: ListenSpec,
    /// Prefetch as it was set last.
    pub(super) prefetch: AtomicU16,
    pub(super) state: watch::Sender<State>,
    /// Position in the stream; `None` for other queues.
    pub(super) bookmark: Mutex<Option<Bookmark>>,
    pub(super) redeliveries: Redeliveries,
    /// `true` while the first subscription lasts.
    ///
    /// Messages that come back then were held by other processes, not lost with a connection of
    /// this one.
    pub(super) is_first: AtomicBool,
    /// Reason for which the queue cannot be consumed, or its exchanges not be declared.
    pub(super) trouble: Mutex<Option<String>>,
}

/// State of a listener, as its callers follow it.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Between two subscriptions.
    Waiting,
    /// Subscribed; the subscription may have ended already, and says so.
    On(Arc<Subscription>),
    /// Hands out nothing more; open deliveries can still be settled.
    Stopped(Option<Arc<Subscription>>),
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
    ///
    /// A later subscription declares its topology first, as the queue may be gone with the broker's
    /// data or an operator's hand. Declaring what exists changes nothing.
    pub(super) async fn subscribe(
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

    /// Locks the reason for which the queue is not consumed, or not bound.
    pub(super) fn trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the reason, and reports a change of health.
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
    pub(super) async fn apply_prefetch(&self, subscription: &Subscription) {
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

    /// Locks the position in the stream.
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
pub(super) enum Attempt {
    First,
    Again,
}

/// Subscribes again after each loss, until the listener is stopped.
pub(super) async fn keep(shared: Arc<Shared>, mut subscription: Arc<Subscription>) {
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
