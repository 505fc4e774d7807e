//! Handle to a connection that is made again after a loss.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bus_core::transport::{Health, TransportError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::live::Live;
use super::supervisor::{Control, Patience, State, supervise};
use super::waiting::Siblings;
use crate::config::Config;
use crate::error::closed;

/// Connection that is made again after a loss.
///
/// Dropped without [`close`](Self::close), it makes no further connection, and the present one ends
/// when its last user is gone.
pub(crate) struct Link {
    state: watch::Receiver<State>,
    control: Arc<Control>,
    /// Task that makes the connections; taken by the one who ends it.
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Link {
    /// Begins to connect; returns at once.
    ///
    /// `role` stands in the name of the connection, which RabbitMQ's management pages show, and in
    /// the log. Must be called inside a tokio runtime.
    pub(crate) fn start(
        config: Arc<Config>,
        role: &'static str,
        siblings: Siblings,
        patience: Patience,
    ) -> Arc<Self> {
        let (sender, state) = watch::channel(State::Down("not connected yet".to_owned()));
        let control = Arc::new(Control {
            config,
            role,
            state: sender,
            suspicion: Notify::new(),
            siblings,
            patience,
        });
        let supervisor = tokio::spawn(supervise(Arc::clone(&control)));
        Arc::new(Self {
            state,
            control,
            supervisor: Mutex::new(Some(supervisor)),
        })
    }

    /// Waits for the connection and returns it.
    ///
    /// # Errors
    /// Fails if the first connection was refused for good, or the link was closed.
    pub(crate) async fn up(&self) -> Result<Arc<Live>, TransportError> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Up(live) => return Ok(Arc::clone(live)),
                State::Refused(kind, text) => return Err(TransportError::new(*kind, text)),
                State::Closed => return Err(closed()),
                State::Down(_) => {}
            }
            if state.changed().await.is_err() {
                return Err(closed());
            }
        }
    }

    /// Returns the connection, if there is one now.
    ///
    /// It may be lost at any later moment; use it inside of [`Live::ask`].
    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        match &*self.state.borrow() {
            State::Up(live) => Some(Arc::clone(live)),
            _ => None,
        }
    }

    /// Returns the reason for which there is no connection now; `None` if there is one.
    pub(crate) fn down(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up(_) => None,
            State::Down(reason) | State::Refused(_, reason) => Some(reason.clone()),
            State::Closed => Some("closed".to_owned()),
        }
    }

    /// Reports whether the broker can be reached through this link.
    pub(crate) fn health(&self) -> Health {
        let role = self.control.role;
        match &*self.state.borrow() {
            State::Up(live) => match live.blocked_reason() {
                None => Health::Up,
                Some(reason) => Health::Degraded(format!(
                    "the broker takes no messages on the {role} connection: {reason}"
                )),
            },
            State::Down(reason) | State::Refused(_, reason) => {
                Health::Down(format!("the {role} connection is down: {reason}"))
            }
            State::Closed => Health::Down(format!("the {role} connection was closed")),
        }
    }

    /// Reports that the health of what uses the link may have changed.
    pub(crate) fn health_changed(&self) {
        self.control.siblings.health_changed();
    }

    /// Reports a failure on the connection, so that its loss is noticed now.
    ///
    /// Costs one check if the connection is fine, so it may be called for any error.
    pub(crate) fn suspect(&self) {
        self.control.suspicion.notify_one();
    }

    /// Ends the connection and never makes another one.
    ///
    /// Callers of [`up`](Self::up) get the error `Closed`. Takes at most as long as
    /// [`Live::close`]; a second call does nothing.
    pub(crate) async fn close(&self) {
        let supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(supervisor) = supervisor {
            supervisor.abort();
        }
        let last = self.control.state.send_replace(State::Closed);
        self.health_changed();
        if let State::Up(live) = last {
            live.close().await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(supervisor) = supervisor {
            supervisor.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("role", &self.control.role)
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}
