//! One background service: runs it, again after a failure, and stops it.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::service::BackgroundService;
use super::stop_signal::StopSignal;
use crate::error::panics;
use crate::error::{BoxError, Shown};
use crate::observe::health::worse;
use crate::observe::{BackgroundHealth, BackgroundState};
use crate::send::Sender;
use crate::transport::{Backoff, Health};

/// First wait before a service that failed is run again, about.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait; a service that runs that long has recovered.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Time for an aborted service to end.
const WIND_DOWN: Duration = Duration::from_secs(1);

/// A background service of a running bus.
///
/// Dropped, it ends the service at its next await.
pub(super) struct Supervisor {
    supervised: Arc<Supervised>,
    stop: watch::Sender<bool>,
    /// Closed when the task has ended, however it ended.
    alive: watch::Sender<()>,
    task: AbortHandle,
}

impl Supervisor {
    pub(super) fn start(service: Arc<dyn BackgroundService>, sender: Sender) -> Self {
        let supervised = Arc::new(Supervised::new(service));
        let (stop, requested) = watch::channel(false);
        let (alive, lives) = watch::channel(());
        let task = tokio::spawn({
            let supervised = Arc::clone(&supervised);
            async move {
                let _lives = lives;
                supervised.run(sender, StopSignal::new(requested)).await;
            }
        });
        Self {
            supervised,
            stop,
            alive,
            task: task.abort_handle(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.supervised.service.name()
    }

    pub(super) fn health(&self) -> BackgroundHealth {
        self.supervised.health()
    }

    /// Stops the service; returns `true` if it ended before the deadline.
    ///
    /// Past it, the service is aborted.
    pub(super) async fn stop(&self, deadline: Option<Instant>) -> bool {
        self.stop.send_replace(true);
        let in_time = if let Some(deadline) = deadline {
            timeout_at(deadline, self.alive.closed()).await.is_ok()
        } else {
            self.alive.closed().await;
            true
        };
        if !in_time {
            self.task.abort();
            if timeout(WIND_DOWN, self.alive.closed()).await.is_err() {
                tracing::error!(
                    service = self.name(),
                    "a background service blocks its thread and is left behind"
                );
            }
        }
        self.supervised.enter(Phase::Stopped { in_time });
        in_time
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A service, and what is known of it.
struct Supervised {
    service: Arc<dyn BackgroundService>,
    status: Mutex<Status>,
}

struct Status {
    phase: Phase,
    /// As last noted.
    health: BackgroundHealth,
}

enum Phase {
    Running,
    /// Runs again after this failure, not for long yet.
    Recovering(String),
    /// Waits after this failure, to be run again.
    Waiting(String),
    Done,
    Stopped {
        in_time: bool,
    },
}

impl Supervised {
    fn new(service: Arc<dyn BackgroundService>) -> Self {
        let health = BackgroundHealth {
            name: service.name().to_owned(),
            state: BackgroundState::Running,
            since: SystemTime::now(),
            reason: None,
        };
        Self {
            service,
            status: Mutex::new(Status {
                phase: Phase::Running,
                health,
            }),
        }
    }

    /// Runs the service until it is done or stopped.
    async fn run(&self, sender: Sender, stop: StopSignal) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let Err(error) = self.attempt(&sender, &stop, &mut backoff).await else {
                return self.enter(Phase::Done);
            };
            let service = self.service.name();
            if stop.is_requested() {
                return tracing::warn!(service, error, "a background service failed as it stopped");
            }
            tracing::error!(
                service,
                error,
                "a background service failed; it is run again"
            );
            self.enter(Phase::Waiting(error.clone()));
            tokio::select! {
                () = stop.requested() => return,
                () = backoff.wait() => {}
            }
            self.enter(Phase::Recovering(error));
        }
    }

    async fn attempt(
        &self,
        sender: &Sender,
        stop: &StopSignal,
        backoff: &mut Backoff,
    ) -> Result<(), String> {
        let run = async { self.service.run(sender.clone(), stop.clone()).await };
        let mut run = pin!(caught(run));
        let outcome = tokio::select! {
            biased;
            outcome = &mut run => outcome,
            () = sleep(LONGEST_WAIT) => {
                backoff.reset();
                self.enter(Phase::Running);
                run.await
            }
        };
        outcome.map_err(|error| Shown(error).to_string())
    }

    fn health(&self) -> BackgroundHealth {
        self.note(None)
    }

    fn enter(&self, phase: Phase) {
        self.note(Some(phase));
    }

    /// Notes the present state, after a change of the phase if there is one.
    fn note(&self, next: Option<Phase>) -> BackgroundHealth {
        // Before the lock, as it is not ours what this does.
        let own = panics::caught(|| self.service.health())
            .unwrap_or_else(|panic| Health::Degraded(format!("its health panicked: {panic}")));
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = next {
            status.phase = phase;
        }
        let (state, reason) = status.phase.state(own);
        if state != status.health.state {
            status.health.since = SystemTime::now();
        }
        (status.health.state, status.health.reason) = (state, reason);
        status.health.clone()
    }
}

impl Phase {
    fn state(&self, own: Health) -> (BackgroundState, Option<String>) {
        let running = |health| match health {
            Health::Up => (BackgroundState::Running, None),
            Health::Degraded(reason) => (BackgroundState::Degraded, Some(reason)),
            Health::Down(reason) => (BackgroundState::Down, Some(reason)),
        };
        match self {
            Self::Running => running(own),
            Self::Recovering(error) => {
                let failed = Health::Degraded(format!("it failed a short while ago: {error}"));
                running(worse(failed, own))
            }
            Self::Waiting(error) => {
                let reason = format!("it failed and will be run again: {error}");
                (BackgroundState::Down, Some(reason))
            }
            Self::Done => (BackgroundState::Done, None),
            Self::Stopped { in_time } => {
                let reason = if *in_time {
                    "it is stopped"
                } else {
                    "it did not stop in time and was aborted"
                };
                (BackgroundState::Stopped, Some(reason.to_owned()))
            }
        }
    }
}

/// Runs a step that users wrote.
///
/// # Errors
/// Its error, or an error with the text of its panic.
pub(crate) async fn caught(
    step: impl Future<Output = Result<(), BoxError>>,
) -> Result<(), BoxError> {
    let outcome = AssertUnwindSafe(step).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(format!("it panicked: {}", panics::text(&*panic)).into()))
}
