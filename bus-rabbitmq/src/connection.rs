//! One supervised connection: made again for as long as the transport lives.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bus_core::transport::{Health, TransportError, TransportErrorKind};
use futures_util::{FutureExt, StreamExt};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::{Config, Host};
use crate::error::{closed, failed, kind_of};

/// How often a connection is looked at, should the client not have told of its end.
const LOOK: Duration = Duration::from_secs(1);

/// How often the log repeats why there is no connection.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);

const REPLY_SUCCESS: u16 = 200;

/// A connection that comes back. The client's own recovery is off: it knows nothing of our topology, and channels that
/// the broker closes are final for it.
pub(crate) struct Link {
    state: watch::Receiver<State>,
    control: Arc<Control>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

struct Control {
    config: Arc<Config>,
    /// What it is for; stands in the connection's name and in the log.
    role: &'static str,
    state: watch::Sender<State>,
    suspicion: Notify,
}

#[derive(Clone)]
enum State {
    /// Not connected, and why.
    Down(String),
    Up(Arc<Live>),
    /// The first connection was refused for good.
    Refused(TransportErrorKind, String),
    Closed,
}

/// One connection, from its handshake to its loss.
pub(crate) struct Live {
    connection: Connection,
    /// Why the broker reads nothing from us at present.
    blocked: watch::Sender<Option<String>>,
    lost: watch::Sender<bool>,
}

impl Link {
    /// Begins to connect. Inside a tokio runtime only.
    pub(crate) fn start(config: Arc<Config>, role: &'static str) -> Arc<Self> {
        let (sender, state) = watch::channel(State::Down("not connected yet".to_owned()));
        let control = Arc::new(Control {
            config,
            role,
            state: sender,
            suspicion: Notify::new(),
        });
        let supervisor = tokio::spawn(supervise(Arc::clone(&control)));
        Arc::new(Self {
            state,
            control,
            supervisor: Mutex::new(Some(supervisor)),
        })
    }

    /// The connection, waited for.
    ///
    /// # Errors
    /// If the first one was refused for good, or the link was closed.
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

    /// Why there is no connection now, in words; `None` if there is one.
    pub(crate) fn down(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Up(_) => None,
            State::Down(reason) | State::Refused(_, reason) => Some(reason.clone()),
            State::Closed => Some("closed".to_owned()),
        }
    }

    /// Whether the broker can be reached through it.
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

    /// Says that something on the connection failed, so that its loss is noticed now.
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

    /// What the broker answers, unless the connection is lost first: the client may leave a question without an answer
    /// then.
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

    /// Follows whether the broker reads what we send; the text says why it does not.
    pub(crate) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }

    /// Waits until the connection is gone.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as `self`.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// A connection that the broker does not read from may never answer; that holds nobody up.
    async fn close(&self) {
        let closing = self.connection.close(REPLY_SUCCESS, "shutdown".into());
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(5), closing).await {
            tracing::debug!(%error, "the connection was gone before it was closed");
        }
    }

    fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }
}

async fn supervise(control: Arc<Control>) {
    let Control { config, role, .. } = &*control;
    let mut backoff = config.backoff();
    let mut complaints = Complaints::default();
    let mut was_up = false;
    for host in config.hosts.iter().cycle() {
        match open(config, host, role).await {
            Ok((connection, events)) => {
                tracing::info!(%host, vhost = config.vhost, role, "connected to RabbitMQ");
                was_up = true;
                backoff.reset();
                complaints = Complaints::default();
                let live = Arc::new(Live {
                    connection,
                    blocked: watch::Sender::new(None),
                    lost: watch::Sender::new(false),
                });
                control.state.send_replace(State::Up(Arc::clone(&live)));
                let cause = follow(&control, &live, events).await;
                live.lost.send_replace(true);
                tracing::warn!(%host, role, cause, "the connection to RabbitMQ is lost; it will be made again");
                control.state.send_replace(State::Down(cause));
            }
            Err(error) if !was_up && !error.kind().is_transient() => {
                let refused = State::Refused(error.kind(), error.to_string());
                control.state.send_replace(refused);
                return;
            }
            Err(error) => {
                if complaints.is_news(&error.to_string()) {
                    tracing::warn!(%host, vhost = config.vhost, role, %error, "RabbitMQ cannot be reached; waiting for it");
                }
                control.state.send_replace(State::Down(error.to_string()));
            }
        }
        backoff.wait().await;
    }
}

/// What was logged of the attempts to connect: each reason at once, and again every minute.
#[derive(Default)]
struct Complaints(HashMap<String, Instant>);

impl Complaints {
    fn is_news(&mut self, reason: &str) -> bool {
        let now = Instant::now();
        let known = self.0.get(reason);
        let is_news = known.is_none_or(|last| now.duration_since(*last) >= COMPLAIN_AGAIN);
        if is_news {
            self.0.insert(reason.to_owned(), now);
        }
        is_news
    }
}

type Events = std::pin::Pin<Box<dyn futures_util::Stream<Item = Event> + Send>>;

async fn open(
    config: &Config,
    host: &Host,
    role: &str,
) -> Result<(Connection, Events), TransportError> {
    let what = || {
        format!(
            "RabbitMQ at {host}, virtual host `{}`, user `{}`",
            config.vhost, config.user
        )
    };
    let tls = config
        .tls_config()
        .map_err(|reason| TransportError::new(TransportErrorKind::AccessRefused, reason))?;
    let runtime = lapin::runtime::default_runtime().map_err(|error| failed("no runtime", error))?;
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} {role}", config.name).into())
        .with_client_property("product".into(), "bus-rabbitmq".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let connecting =
        Connection::connect_uri_with_config(config.uri(host), properties, tls, runtime);
    match tokio::time::timeout(config.connect_timeout, connecting.boxed()).await {
        Ok(Ok(connection)) => {
            // One listener only: each event goes to one of them.
            let events = connection.events_listener().boxed();
            Ok((connection, events))
        }
        Ok(Err(error)) => {
            let kind = kind_of(&error);
            Err(
                TransportError::new(kind, format!("{}: {}", what(), crate::error::words(&error)))
                    .with_source(error),
            )
        }
        Err(_) => Err(TransportError::new(
            TransportErrorKind::Unreachable,
            format!("{}: no answer within {:?}", what(), config.connect_timeout),
        )),
    }
}

/// Follows the events of a connection until it is lost, and says why.
async fn follow(control: &Control, live: &Live, mut events: Events) -> String {
    let mut cause = "the connection ended".to_owned();
    while live.is_connected() {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(role = control.role, reason, "RabbitMQ takes no more messages for now");
                    live.blocked.send_replace(Some(reason));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(role = control.role, "RabbitMQ takes messages again");
                    live.blocked.send_replace(None);
                }
                // Also told when only a channel was closed; the loop's condition knows.
                Some(Event::Error(error)) => cause = crate::error::words(&error),
                Some(_) => {}
                None => break,
            },
            () = control.suspicion.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_logged_once_a_minute() {
        let mut complaints = Complaints::default();
        assert!(complaints.is_news("refused"));
        assert!(!complaints.is_news("refused"));
        assert!(complaints.is_news("no answer"));
        tokio::time::advance(COMPLAIN_AGAIN).await;
        assert!(complaints.is_news("refused"));
    }
}
