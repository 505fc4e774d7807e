//! The state of an endpoint, and from when on it is in it.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::observe::{EndpointChange, EndpointHealth, EndpointState, Observers};

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
        };
        Self {
            observers,
            known: Mutex::new(known),
        }
    }

    /// Notes the present state, and reports it to observers if it has changed.
    ///
    /// It is read under the lock, so that an older state cannot replace a newer one.
    pub(super) fn note(
        &self,
        read: impl FnOnce() -> (EndpointState, Option<String>),
    ) -> EndpointHealth {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = known.state;
        (known.state, known.reason) = read();
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
        let running = || (EndpointState::Running, None);
        let first = status.note(running);
        assert_eq!(status.note(running), first);
        let away = || (EndpointState::Unavailable, Some("away".to_owned()));
        let lost = status.note(away);
        assert!(lost.since >= first.since);
        let other = || (EndpointState::Unavailable, Some("locked".to_owned()));
        let still = status.note(other);
        assert_eq!(still.since, lost.since);
        assert_eq!(still.reason.as_deref(), Some("locked"));
    }
}
