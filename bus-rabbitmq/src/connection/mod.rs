//! Supervised connection, made again for as long as the transport lives.

mod attempt;
mod client_runtime;
mod foreign;
mod sanitize;
mod socket;
mod waiting;

pub(crate) use foreign::ForeignBytes;
pub(crate) use waiting::Siblings;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_core::transport::{Health, TransportError, TransportErrorKind};
use futures_util::StreamExt;
use lapin::{Channel, Connection, ErrorKind, Event};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Config;
use crate::convert::most_headers;
use crate::error::{closed, failed, words};
use attempt::{Connected, Events, connect};
use socket::SocketHandle;
use waiting::Complaints;

/// Interval at which a connection is checked, should the client not report its end.
const LOOK: Duration = Duration::from_secs(1);

/// Lifetime from which a connection counts as a good one.
const GOOD: Duration = Duration::from_secs(10);

/// Time that a connection may take to close.
const CLOSE: Duration = Duration::from_secs(5);

const REPLY_SUCCESS: u16 = 200;

/// Reaction of a link to the first refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Ends the link: a first refusal by the broker is a mistake in the settings.
    UntilRefused,
    /// Tries again: the settings are known to be right.
    Always,
}

/// Connection that is made again after a loss.
///
/// The client's own recovery is off: it knows nothing of our topology, and channels that the broker
/// closes are final for it.
pub(crate) struct Link {
    state: watch::Receiver<State>,
    control: Arc<Control>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

struct Control {
    config: Arc<Config>,
    /// Purpose of the connection; stands in its name and in the log.
    role: &'static str,
    state: watch::Sender<State>,
    suspicion: Notify,
    siblings: Siblings,
    patience: Patience,
}

#[derive(Clone)]
enum State {
    /// Not connected, with the reason.
    Down(String),
    Up(Arc<Live>),
    /// Refused for good at the first connection.
    Refused(TransportErrorKind, String),
    Closed,
}

/// One connection, from its handshake to its loss.
pub(crate) struct Live {
    connection: Connection,
    socket: Arc<SocketHandle>,
    most_headers: usize,
    /// Reason for which the broker reads nothing from us at present.
    blocked: watch::Sender<Option<String>>,
    lost: watch::Sender<bool>,
}

impl Link {
    /// Begins to connect.
    ///
    /// Must be called inside a tokio runtime.
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
            State::Up(live) => match &*live.blocked.borrow() {
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
    pub(crate) fn suspect(&self) {
        self.control.suspicion.notify_one();
    }

    /// Ends the connection and never makes another one.
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

impl Live {
    /// Opens a channel.
    pub(crate) async fn channel(&self) -> Result<Channel, TransportError> {
        let channel = self.connection.create_channel().await;
        channel.map_err(|error| failed("no channel can be opened", error))
    }

    /// Waits for an answer of the broker, or for the loss of the connection.
    ///
    /// The client may leave a question without an answer when the connection is lost.
    pub(crate) async fn ask<T>(
        &self,
        question: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        tokio::select! {
            biased;
            answer = question => answer,
            () = self.lost() => Err(TransportError::new(
                TransportErrorKind::Unreachable,
                "the connection to RabbitMQ was lost",
            )),
        }
    }

    /// Follows whether the broker reads from us; the text is the reason if it does not.
    pub(crate) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }

    /// Returns `true` if the connection is known to be gone.
    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Waits until the connection is gone.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as `self`.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Number of bytes that the headers of a message may take on this connection.
    pub(crate) fn most_headers(&self) -> usize {
        self.most_headers
    }

    /// Socket handle, which counts the foreign bytes that came on the connection.
    pub(crate) fn socket(&self) -> &SocketHandle {
        &self.socket
    }

    /// Closes the connection, and waits for the broker's answer for a limited time.
    ///
    /// A broker that reads or writes nothing may never answer; that holds up nothing else.
    async fn close(&self) {
        let closing = self.connection.close(REPLY_SUCCESS, "shutdown".into());
        match tokio::time::timeout(CLOSE, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "the connection was gone before it was closed");
            }
            Err(_) => tracing::debug!("the broker did not answer the end of the connection"),
        }
        self.socket.shut();
        self.lost.send_replace(true);
    }

    fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }
}

async fn supervise(control: Arc<Control>) {
    let Control { config, role, .. } = &*control;
    let mut backoff = config.backoff();
    let mut complaints = Complaints::default();
    let mut is_final = control.patience == Patience::UntilRefused;
    let mut siblings = control.siblings.listen();
    for host in config.hosts.iter().cycle() {
        match connect(config, host, role).await {
            Ok(connected) => {
                tracing::info!(%host, vhost = config.vhost, role, "connected to RabbitMQ");
                is_final = false;
                complaints = Complaints::default();
                let since = Instant::now();
                let Some((live, events)) = control.up(connected).await else {
                    return;
                };
                control.siblings.reached();
                let loss = follow(&control, &live, events).await;
                live.socket.shut();
                live.lost.send_replace(true);
                // The same message comes again with the next connection, so each one may end as
                // soon as this one.
                if !loss.is_unreadable || since.elapsed() >= GOOD {
                    backoff.reset();
                }
                let Loss { cause, .. } = loss;
                tracing::warn!(%host, role, cause, "the connection to RabbitMQ is lost; it will be made again");
                control.go_on(State::Down(cause));
            }
            Err(error) if is_final && !error.kind().is_transient() => {
                let refused = State::Refused(error.kind(), error.to_string());
                control.go_on(refused);
                return;
            }
            Err(error) => {
                if complaints.is_news(&error.to_string()) {
                    tracing::warn!(%host, vhost = config.vhost, role, %error, "RabbitMQ cannot be reached; waiting for it");
                }
                control.go_on(State::Down(error.to_string()));
            }
        }
        control.siblings.wait(&mut siblings, &mut backoff).await;
    }
}

impl Control {
    /// Moves to the next state; returns `false` if the link was closed.
    ///
    /// An aborted supervisor still runs to its next await.
    fn go_on(&self, next: State) -> bool {
        let goes_on = self.state.send_if_modified(|state| {
            let goes_on = !matches!(state, State::Closed);
            if goes_on {
                *state = next;
            }
            goes_on
        });
        self.siblings.health_changed();
        goes_on
    }

    /// Hands the connection out; `None` if the link was closed meanwhile.
    async fn up(&self, connected: Connected) -> Option<(Arc<Live>, Events)> {
        let Connected {
            connection,
            events,
            socket,
        } = connected;
        let live = Arc::new(Live {
            most_headers: most_headers(connection.configuration().frame_max()),
            connection,
            socket,
            blocked: watch::Sender::new(None),
            lost: watch::Sender::new(false),
        });
        if !self.go_on(State::Up(Arc::clone(&live))) {
            live.close().await;
            return None;
        }
        Some((live, events))
    }
}

/// Loss of a connection.
struct Loss {
    cause: String,
    /// `true` if the client could not read the received bytes.
    is_unreadable: bool,
}

/// Follows the events of a connection until it is lost.
async fn follow(control: &Control, live: &Live, mut events: Events) -> Loss {
    let mut loss = Loss {
        cause: "the connection ended".to_owned(),
        is_unreadable: false,
    };
    while live.is_connected() {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(role = control.role, reason, "RabbitMQ takes no more messages for now");
                    live.blocked.send_replace(Some(reason));
                    control.siblings.health_changed();
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(role = control.role, "RabbitMQ takes messages again");
                    live.blocked.send_replace(None);
                    control.siblings.health_changed();
                }
                // Also reported when only a channel was closed; the loop's condition knows.
                Some(Event::Error(error)) => {
                    loss.is_unreadable |= matches!(error.kind(), ErrorKind::ParsingError(_));
                    loss.cause = words(&error);
                }
                Some(_) => {}
                None => break,
            },
            () = control.suspicion.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    loss
}
