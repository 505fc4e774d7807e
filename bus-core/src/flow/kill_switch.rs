//! Settings of a kill switch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConsumeError;

type Counts = dyn Fn(&ConsumeError) -> bool + Send + Sync;

/// Conditions on which an endpoint pauses, as too many of its messages fail.
///
/// For [`Policy::kill_switch`](crate::Policy::kill_switch). Where a dependency is broken, each
/// message fails, and all of them would end in the error queue; a pause leaves them in their queue
/// until it works again.
///
/// ```text
///            too many fail                 its time is over, or a resume
///  running ───────────────► tripped: paused ───────────────► on trial: one at a time
///     ▲                          ▲                                 │        │
///     │                          └───────────── one fails ─────────┘        │
///     └───────────────────────────────────────── ten succeed ───────────────┘
/// ```
///
/// It trips when at least [`activation`](Self::activation) messages were handled within a
/// [`period`](Self::period), and the [`threshold`](Self::threshold) or more of them failed: for
/// good, or to come again later. Retries in place do not count, nor do messages that are deferred
/// or wait for what is [unavailable](ConsumeError::unavailable). A period begins with a failure.
///
/// A tripped endpoint takes no messages; what runs ends, and what was handed out and has not begun
/// goes back. Its health is [`Tripped`](crate::observe::EndpointState::Tripped), and
/// [`Degraded`](crate::observe::EndpointState::Degraded) on trial. Each trip after a trial that
/// failed lasts twice as long as the one before, up to a maximum.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Endpoint, KillSwitch, Policy};
///
/// let switch = KillSwitch::new()
///     .activation(20)
///     .threshold(0.5)
///     .restart(Duration::from_secs(30), Duration::from_secs(600))
///     .when(|error| !error.is_permanent());
/// let invoices = Endpoint::new("invoices").policy(Policy::new().kill_switch(switch));
/// # let _ = invoices;
/// ```
#[derive(Clone)]
#[must_use = "give it to a policy with .kill_switch(…)"]
pub struct KillSwitch {
    pub(super) activation: u32,
    pub(super) threshold: f64,
    pub(super) period: Duration,
    pub(super) restart: Duration,
    pub(super) longest_restart: Duration,
    counts: Option<Arc<Counts>>,
}

impl KillSwitch {
    /// Creates a kill switch with the defaults, which are MassTransit's.
    pub fn new() -> Self {
        Self {
            activation: 100,
            threshold: 0.1,
            period: Duration::from_secs(60),
            restart: Duration::from_secs(60),
            longest_restart: Duration::from_secs(600),
            counts: None,
        }
    }

    /// Sets the number of messages in a period from which on it may trip.
    ///
    /// Default: 100. 0 is a configuration mistake.
    pub fn activation(mut self, messages: u32) -> Self {
        self.activation = messages;
        self
    }

    /// Sets the share of failures at which it trips.
    ///
    /// Default: 0.1. A share that is not above 0 and at most 1 is a configuration mistake.
    pub fn threshold(mut self, share: f64) -> Self {
        self.threshold = share;
        self
    }

    /// Sets the time over which messages are counted.
    ///
    /// Default: one minute. Zero is a configuration mistake.
    pub fn period(mut self, time: Duration) -> Self {
        self.period = time;
        self
    }

    /// Sets the time for which it pauses the endpoint: at first, and at most.
    ///
    /// Default: one minute and ten minutes. Zero is a configuration mistake.
    pub fn restart(mut self, first: Duration, longest: Duration) -> Self {
        self.restart = first;
        self.longest_restart = longest.max(first);
        self
    }

    /// Counts an error only if this says so.
    ///
    /// Default: every error counts. A message whose error does not count has not failed for the
    /// switch. Asked once more replaces the question before; a question that panics is a yes.
    pub fn when(mut self, counts: impl Fn(&ConsumeError) -> bool + Send + Sync + 'static) -> Self {
        self.counts = Some(Arc::new(counts));
        self
    }

    pub(super) fn counts(&self, error: &ConsumeError) -> bool {
        let counts = self.counts.as_deref();
        counts.is_none_or(|counts| crate::error::panics::caught(|| counts(error)).unwrap_or(true))
    }

    /// Returns what is wrong with the settings.
    pub(crate) fn mistakes(&self) -> impl Iterator<Item = String> {
        let share = self.threshold;
        let checks = [
            (
                self.activation == 0,
                "its kill switch has an activation of 0; use at least 1".to_owned(),
            ),
            (
                !(share > 0.0 && share <= 1.0),
                format!(
                    "its kill switch has a threshold of {share}; use a share above 0, and at most 1"
                ),
            ),
            (
                self.period.is_zero() || self.restart.is_zero(),
                "its kill switch has a time of zero, so it would never trip or never pause"
                    .to_owned(),
            ),
        ];
        let wrong = checks.into_iter().filter(|(is_wrong, _)| *is_wrong);
        wrong.map(|(_, mistake)| mistake)
    }
}

impl Default for KillSwitch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for KillSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillSwitch")
            .field("activation", &self.activation)
            .field("threshold", &self.threshold)
            .field("period", &self.period)
            .field("restart", &(self.restart, self.longest_restart))
            .finish_non_exhaustive()
    }
}
