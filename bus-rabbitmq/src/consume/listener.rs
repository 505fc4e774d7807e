//! Listener of one queue, as the bus sees it.
//!
//! ```text
//!  start ──► On ──► Waiting ──► On … ──► Stopped(last subscription) ──► Stopped(None)
//!            ends   subscribe again      stop: nothing more is handed    close: nothing can
//!                                        out, the rest can be settled    be settled any more
//! ```

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus_core::transport::{
    Delivery, Health, Incoming, ListenSpec, Listener, TransportError, TransportErrorKind,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::keeper::{Attempt, Shared, State, keep};
use super::redeliveries::Redeliveries;
use super::stream::Bookmark;
use super::subscription::{self, Subscription};
use crate::config::Config;
use crate::connection::Link;

/// Listener that subscribes again until it is stopped.
///
/// Dropped, it makes no further subscription; the present one ends with its last delivery.
#[derive(Debug)]
pub(crate) struct QueueListener {
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
    /// Task that subscribes again; taken by the one who ends it.
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl QueueListener {
    /// Subscribes.
    ///
    /// # Errors
    /// Fails for what the broker refuses for good: a queue that may not be read, or that another
    /// consumer reads exclusively (403), or that does not exist (404). Waits for what is only
    /// absent: a connection, a queue that another connection owns (405), a quorum queue without its
    /// majority.
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
