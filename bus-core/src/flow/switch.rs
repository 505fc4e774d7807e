//! The kill switch of one endpoint: counts, trips, and lets it try again.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::kill_switch::KillSwitch;
use crate::error::{ConsumeError, Shown};

/// Number of messages that must succeed on trial.
const TRIAL: u32 = 10;

/// The kill switch of one endpoint.
///
/// A message that succeeds costs two steps on numbers, without a lock and without a clock.
#[derive(Debug)]
pub(crate) struct Switch {
    settings: KillSwitch,
    /// Messages of the period that have not failed.
    succeeded: AtomicU32,
    is_on_trial: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Failures since the begin of the period.
    failed: u32,
    since: Instant,
    /// Pause of the next trip.
    wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Tripped,
    /// Messages that have still to succeed.
    OnTrial(u32),
}

/// A trip: the endpoint is to pause.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trip {
    pub(crate) wait: Duration,
    pub(crate) reason: String,
}

impl Switch {
    pub(crate) fn new(settings: KillSwitch) -> Self {
        let state = State {
            phase: Phase::Running,
            failed: 0,
            since: Instant::now(),
            wait: settings.restart,
        };
        Self {
            settings,
            succeeded: AtomicU32::new(0),
            is_on_trial: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Counts a message that has succeeded; returns `true` if a trial ends with it.
    pub(crate) fn succeed(&self) -> bool {
        if self.is_on_trial() {
            return self.end_trial();
        }
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Counts a message that has failed; returns a trip if that is too much.
    pub(crate) fn fail(&self, error: &ConsumeError) -> Option<Trip> {
        let mut state = self.state();
        let reason = match state.phase {
            Phase::Tripped => return None,
            Phase::OnTrial(_) => format!("a message failed on trial: {}", Shown(error)),
            Phase::Running => self.count_failure(&mut state, error)?,
        };
        let wait = state.wait;
        state.wait = wait.saturating_mul(2).min(self.settings.longest_restart);
        state.phase = Phase::Tripped;
        self.is_on_trial.store(false, Ordering::SeqCst);
        Some(Trip { wait, reason })
    }

    /// Returns `true` if an error is a failure for the switch.
    pub(crate) fn counts(&self, error: &ConsumeError) -> bool {
        self.settings.counts(error)
    }

    /// Begins a trial if the switch has tripped; `true` if it is on trial.
    pub(crate) fn restart(&self) -> bool {
        let mut state = self.state();
        if state.phase == Phase::Tripped {
            state.phase = Phase::OnTrial(TRIAL);
            self.is_on_trial.store(true, Ordering::SeqCst);
        }
        state.phase != Phase::Running
    }

    pub(crate) fn is_on_trial(&self) -> bool {
        self.is_on_trial.load(Ordering::Relaxed)
    }

    fn end_trial(&self) -> bool {
        let mut state = self.state();
        match state.phase {
            Phase::OnTrial(left) if left > 1 => {
                state.phase = Phase::OnTrial(left - 1);
                false
            }
            Phase::OnTrial(_) => {
                state.phase = Phase::Running;
                state.failed = 0;
                state.wait = self.settings.restart;
                self.is_on_trial.store(false, Ordering::SeqCst);
                true
            }
            Phase::Running | Phase::Tripped => false,
        }
    }

    /// Returns the reason for a trip, if it is one.
    fn count_failure(&self, state: &mut State, error: &ConsumeError) -> Option<String> {
        let settings = &self.settings;
        if state.failed == 0 || state.since.elapsed() >= settings.period {
            state.failed = 0;
            state.since = Instant::now();
            self.succeeded.store(0, Ordering::Relaxed);
        }
        state.failed += 1;
        let failed = state.failed;
        let all = failed.saturating_add(self.succeeded.load(Ordering::Relaxed));
        let is_too_much = f64::from(failed) >= settings.threshold * f64::from(all);
        (all >= settings.activation && is_too_much).then(|| {
            format!(
                "{failed} of {all} messages failed, at last with: {}",
                Shown(error)
            )
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn switch() -> Switch {
        let settings = KillSwitch::new().activation(10).threshold(0.3);
        Switch::new(settings.restart(MINUTE, 3 * MINUTE))
    }

    fn fail(switch: &Switch) -> Option<Trip> {
        switch.fail(&"broken".into())
    }

    /// Lets so many messages fail; returns the pause that the last one causes.
    fn trip(switch: &Switch, failures: u32) -> Option<Duration> {
        for _ in 1..failures {
            assert_eq!(fail(switch), None);
        }
        fail(switch).map(|trip| trip.wait)
    }

    #[tokio::test(start_paused = true)]
    async fn it_trips_at_its_threshold_among_enough_messages() {
        let switch = switch();
        assert_eq!(fail(&switch), None);
        for _ in 0..6 {
            assert!(!switch.succeed());
        }
        assert_eq!(fail(&switch), None, "too few messages");
        assert_eq!(fail(&switch), None, "too few messages");
        let trip = fail(&switch).expect("4 of 10");
        assert_eq!(trip.reason, "4 of 10 messages failed, at last with: broken");
        assert_eq!((trip.wait, fail(&switch)), (MINUTE, None), "it has tripped");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_rare_do_not_trip() {
        let switch = switch();
        for _ in 0..50 {
            assert_eq!(fail(&switch), None);
            (0..4).for_each(|_| assert!(!switch.succeed()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_period_counts_anew() {
        let switch = switch();
        assert_eq!(trip(&switch, 9), None);
        tokio::time::advance(MINUTE).await;
        assert_eq!(trip(&switch, 9), None);
        assert_eq!(trip(&switch, 1), Some(MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_fails_pauses_longer_up_to_a_maximum() {
        let switch = switch();
        assert!(!switch.restart(), "it has not tripped");
        assert_eq!(trip(&switch, 10), Some(MINUTE));
        for expected in [2, 3, 3] {
            assert!(switch.restart() && switch.is_on_trial());
            assert!(!switch.succeed());
            assert_eq!(trip(&switch, 1), Some(expected * MINUTE));
            assert!(!switch.is_on_trial());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_ends_with_its_last_success() {
        let switch = switch();
        assert_eq!(trip(&switch, 10), Some(MINUTE));
        assert!(!switch.succeed(), "one that ran before does not count");
        assert!(switch.restart());
        for _ in 1..TRIAL {
            assert!(!switch.succeed());
        }
        assert!(switch.succeed() && !switch.is_on_trial());
        assert_eq!(
            trip(&switch, 10),
            Some(MINUTE),
            "as if it had never tripped"
        );
    }

    #[test]
    fn a_filter_that_panics_counts() {
        let switch = Switch::new(KillSwitch::new().when(|error| {
            assert!(!error.is_permanent(), "clumsy");
            false
        }));
        assert!(switch.counts(&ConsumeError::permanent("x")));
        assert!(!switch.counts(&"y".into()));
    }
}
