//! The task that makes a connection, follows it, and makes it again.
//!
//! | state | ends with |
//! |---|---|
//! | `Down` | an attempt that succeeds, or the end of the link |
//! | `Up` | the loss of the connection |
//! | `Refused` | nothing: the settings are wrong (first attempt of a link that says so) |
//! | `Closed` | nothing |
//!
//! The hosts of a cluster are tried in turn, so the next attempt after a loss goes to another node.

use std::sync::Arc;
use std::time::Duration;

use bus_core::transport::TransportErrorKind;
use futures_util::StreamExt;
use lapin::{ErrorKind, Event};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::attempt::{Connected, Events, connect};
use super::live::Live;
use super::waiting::{Complaints, Siblings};
use crate::config::Config;
use crate::error::words;

/// Interval at which a connection is checked, should the client not report its end.
const LOOK: Duration = Duration::from_secs(1);

/// Lifetime from which a connection counts as a good one in any case.
///
/// One that lived for less counts as one too, unless the client could not read what came.
const GOOD: Duration = Duration::from_secs(10);

/// Reaction of a link to the first refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Ends the link: a first refusal by the broker is a mistake in the settings.
    ///
    /// Only until the first success. Later, the same answer (403 for a user, 530 for a virtual
    /// host) may come from a broker that is starting, or that an operator works on.
    UntilRefused,
    /// Tries again: the settings are known to be right.
    Always,
}

/// Parts of a link that its supervisor shares.
pub(super) struct Control {
    pub(super) config: Arc<Config>,
    /// Purpose of the connection; stands in its name and in the log.
    pub(super) role: &'static str,
    pub(super) state: watch::Sender<State>,
    /// Notified when a user of the connection saw a failure.
    pub(super) suspicion: Notify,
    pub(super) siblings: Siblings,
    pub(super) patience: Patience,
}

/// State of a link, as its users follow it.
#[derive(Clone)]
pub(super) enum State {
    /// Not connected, with the reason.
    Down(String),
    /// Connected; the value may be lost already, and says so.
    Up(Arc<Live>),
    /// Refused for good at the first connection.
    Refused(TransportErrorKind, String),
    /// Closed by its owner; no state follows.
    Closed,
}

/// Makes the connection again and again, until the link is closed or refused.
///
/// The waits begin anew with each loss, but for a connection that soon ended because the client
/// could not read what came: the same message is delivered again on the next one.
pub(super) async fn supervise(control: Arc<Control>) {
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
                live.end();
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
        let live = Arc::new(Live::new(connection, socket));
        if !self.go_on(State::Up(Arc::clone(&live))) {
            live.close().await;
            return None;
        }
        Some((live, events))
    }
}

/// End of a connection, as the client reported it.
struct Loss {
    cause: String,
    /// `true` if the client could not read the received bytes.
    is_unreadable: bool,
}

/// Follows the events of a connection until it is lost.
///
/// The client gives each event to one of its listeners, so this is the only one; others follow
/// [`Live::blocked`] and [`Live::lost`].
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
                    live.set_blocked(Some(reason));
                    control.siblings.health_changed();
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!(role = control.role, "RabbitMQ takes messages again");
                    live.set_blocked(None);
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
