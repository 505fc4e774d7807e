//! A queue that is consumed, whatever happens to connections, channels and the queue itself.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus_core::transport::{Delivery, ListenSpec, Listener, TransportError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::connection::Link;
use crate::session::Session;
use crate::topology;

/// Subscribes again for as long as nobody stops it.
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
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    /// Between two subscriptions.
    Waiting,
    On(Arc<Session>),
    /// Nothing more is handed out; what was can still be settled.
    Stopped(Option<Arc<Session>>),
}

impl QueueListener {
    /// Subscribes. What the broker refuses for good is an error; what is only absent is waited for.
    pub(crate) async fn start(
        link: Arc<Link>,
        config: Arc<Config>,
        spec: ListenSpec,
    ) -> Result<Arc<Self>, TransportError> {
        let (sender, state) = watch::channel(State::Waiting);
        let shared = Arc::new(Shared {
            link,
            config,
            spec,
            state: sender,
        });
        let first = shared.subscribe(false).await?;
        shared.state.send_replace(State::On(Arc::clone(&first)));
        let keeper = tokio::spawn(keep(Arc::clone(&shared), first));
        Ok(Arc::new(Self {
            state,
            shared,
            keeper: Mutex::new(Some(keeper)),
        }))
    }

    /// No subscription is made any more; gives the last one.
    fn end(&self) -> Option<Arc<Session>> {
        let keeper = self
            .keeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(keeper) = keeper {
            keeper.abort();
        }
        let mut session = None;
        self.shared.state.send_modify(|state| {
            session = match state {
                State::Waiting => None,
                State::On(session) => Some(Arc::clone(session)),
                State::Stopped(session) => session.take(),
            };
            *state = State::Stopped(session.clone());
        });
        session
    }
}

#[async_trait]
impl Listener for QueueListener {
    async fn next(&self) -> Option<Result<Delivery, TransportError>> {
        let mut state = self.state.clone();
        loop {
            let session = match &*state.borrow_and_update() {
                State::On(session) => Some(Arc::clone(session)),
                State::Waiting => None,
                State::Stopped(_) => return None,
            };
            if let Some(session) = session
                && let Some(delivery) = session.next().await
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
            State::On(session) => !session.has_ended(),
            State::Waiting => false,
            State::Stopped(_) => true,
        };
        // The sender lives as long as `self`.
        let _ = state.wait_for(ready).await;
    }

    async fn stop(&self) {
        if let Some(session) = self.end() {
            session.stop().await;
        }
    }

    async fn close(&self) {
        if let Some(session) = self.end() {
            session.close().await;
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
    /// Moves to the next state, unless the listener was stopped: an aborted keeper still runs to its next await.
    fn go_on(&self, next: State) -> bool {
        self.state.send_if_modified(|state| {
            let goes_on = !matches!(state, State::Stopped(_));
            if goes_on {
                *state = next;
            }
            goes_on
        })
    }

    /// Waits for the connection and subscribes; `again` declares first, as the queue may be gone.
    async fn subscribe(&self, again: bool) -> Result<Arc<Session>, TransportError> {
        let mut backoff = self.config.backoff();
        let mut declare = again;
        loop {
            let live = self.link.up().await?;
            let subscribed = async {
                if declare {
                    topology::declare(&live, &self.spec.topology).await?;
                }
                Session::open(Arc::clone(&live), &self.spec).await
            };
            match live.ask(subscribed).await {
                Ok(session) => return Ok(session),
                Err(error) if again || error.kind().is_transient() => {
                    tracing::warn!(queue = self.spec.queue, %error, "the queue cannot be consumed yet");
                    self.link.suspect();
                }
                Err(error) => return Err(error),
            }
            declare = true;
            backoff.wait().await;
        }
    }
}

/// Subscribes again whenever the subscription has ended, until the listener is stopped.
async fn keep(shared: Arc<Shared>, mut session: Arc<Session>) {
    loop {
        session.ended().await;
        if !shared.go_on(State::Waiting) {
            return;
        }
        tracing::warn!(
            queue = shared.spec.queue,
            "the subscription is lost; it will be made again"
        );
        shared.link.suspect();
        match shared.subscribe(true).await {
            Ok(again) => {
                if !shared.go_on(State::On(Arc::clone(&again))) {
                    return again.close().await;
                }
                tracing::info!(queue = shared.spec.queue, "the queue is consumed again");
                session = again;
            }
            // The link is closed.
            Err(_) => return,
        }
    }
}
