//! The state of an endpoint, and from when on it is in it.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::consume::{Cause, Pause};
use crate::observe::{EndpointChange, EndpointHealth, EndpointState, Observers};

/// A state of an endpoint, and the reason for it.
pub(super) struct State {
    kind: EndpointState,
    reason: Option<String>,
    until: Option<SystemTime>,
}

impl State {
    pub(super) fn new(kind: EndpointState, reason: Option<String>) -> Self {
        Self {
            kind,
            reason,
            until: None,
        }
    }

    pub(super) fn because(kind: EndpointState, reason: &str) -> Self {
        Self::new(kind, Some(reason.to_owned()))
    }

    /// The state while what runs ends.
    pub(super) fn pausing(pause: &Pause) -> Self {
        Self::of_pause(EndpointState::Pausing, pause, "it is being paused")
    }

    pub(super) fn paused(pause: &Pause) -> Self {
        Self::of_pause(EndpointState::Paused, pause, "it is paused")
    }

    fn of_pause(kind: EndpointState, pause: &Pause, without_name: &str) -> Self {
        let (kind, reason) = match pause.cause() {
            Cause::Asked(None) => (kind, without_name.to_owned()),
            Cause::Asked(Some(by)) => (kind, format!("paused by {by}")),
            Cause::Tripped(reason) => (EndpointState::Tripped, reason.to_string()),
        };
        Self {
            kind,
            reason: Some(reason),
            until: pause.until(),
        }
    }
}

/// The state of an endpoint as last noted.
pub(super) struct Status {
    observers: Observers,
    known: Mutex<EndpointHealth>,
}

impl Status {
    pub(super) fn new(endpoint: &str, observers: Observers) -> Self {
        let known = EndpointHealth {
            name: endpoint.to_owned(),
            state: EndpointState::Starting,
            since: SystemTime::now(),
            reason: None,
            until: None,
        };
        Self {
            observers,
            known: Mutex::new(known),
        }
    }

    /// Notes the present state, and reports it to observers if it has changed.
    ///
    /// It is read under the lock, so that an older state cannot replace a newer one.
    pub(super) fn note(&self, read: impl FnOnce() -> State) -> EndpointHealth {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = known.state;
        State {
            kind: known.state,
            reason: known.reason,
            until: known.until,
        } = read();
        if known.state != previous {
            known.since = SystemTime::now();
        }
        let health = known.clone();
        // Observers may ask for the health.
        drop(known);
        if health.state != previous {
            self.report(previous, &health);
        }
        health
    }

    fn report(&self, previous: EndpointState, health: &EndpointHealth) {
        let change = EndpointChange {
            endpoint: &health.name,
            previous,
            state: health.state,
            since: health.since,
            reason: health.reason.as_deref(),
        };
        self.observers
            .tell(|observer| observer.endpoint_changed(&change));
    }
}

/// Notes the state whenever the transport or a message may have changed it.
///
/// Ends with the endpoint: `note` returns `None` then, and the sender of `troubles` is gone.
pub(super) async fn follow(
    mut transport: watch::Receiver<()>,
    mut troubles: watch::Receiver<()>,
    note: impl Fn() -> Option<()>,
) {
    let mut is_notified = true;
    while note().is_some() {
        tokio::select! {
            change = transport.changed(), if is_notified => is_notified = change.is_ok(),
            change = troubles.changed() => if change.is_err() {
                return;
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_from_its_first_note_on() {
        let status = Status::new("orders", Observers::default());
        let running = || State::new(EndpointState::Running, None);
        let first = status.note(running);
        assert_eq!(status.note(running), first);
        let away = || State::because(EndpointState::Unavailable, "away");
        let lost = status.note(away);
        assert!(lost.since >= first.since);
        let other = || State::because(EndpointState::Unavailable, "locked");
        let still = status.note(other);
        assert_eq!(still.since, lost.since);
        assert_eq!(still.reason.as_deref(), Some("locked"));
    }
}
