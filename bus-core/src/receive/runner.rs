//! One endpoint of a running bus: starts, pauses, goes on, and stops.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::receiver::Receiver;
use super::status::{Status, follow};
use super::worker::Workers;
use crate::observe::health::worse;
use crate::observe::{EndpointHealth, EndpointState};
use crate::transport::{
    Health, ListenSpec, Listener, Transport, TransportError, TransportErrorKind,
};

/// Time for cancelled consumers to end, and then for those that are dropped.
const WIND_DOWN: Duration = Duration::from_secs(1);

/// Longest time that a silent broker may hold up each step of a stop.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);

/// An endpoint that can run, be paused and resumed, and stop.
pub(crate) struct EndpointRunner {
    receiver: Arc<Receiver>,
    transport: Arc<dyn Transport>,
    spec: ListenSpec,
    concurrency: usize,
    /// Current phase, without a lock from one step to the next: a stop need not wait.
    phase: watch::Sender<Phase>,
    starts: AtomicU64,
    status: Status,
}

#[derive(Clone)]
enum Phase {
    Paused,
    /// Starting, by the start of this number.
    Starting(u64),
    On(Arc<Workers>),
    /// Takes no more messages; those that run end.
    Leaving(Arc<Workers>),
    /// Stopped for good.
    Stopped,
}

impl Phase {
    fn is_starting(&self, start: u64) -> bool {
        matches!(self, Self::Starting(number) if *number == start)
    }

    fn is_leaving(&self, leaving: &Arc<Workers>) -> bool {
        matches!(self, Self::Leaving(lanes) if Arc::ptr_eq(lanes, leaving))
    }
}

impl EndpointRunner {
    pub(crate) fn new(
        receiver: Arc<Receiver>,
        transport: Arc<dyn Transport>,
        spec: ListenSpec,
        concurrency: usize,
    ) -> Self {
        let endpoint = &receiver.endpoint;
        let status = Status::new(&endpoint.name, endpoint.outbound.observers.clone());
        Self {
            status,
            receiver,
            transport,
            spec,
            concurrency,
            phase: watch::Sender::new(Phase::Paused),
            starts: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.receiver.endpoint.name
    }

    /// Returns the health of the endpoint, as currently known.
    pub(crate) fn health(&self) -> EndpointHealth {
        self.status.note(|| self.state())
    }

    fn state(&self) -> (EndpointState, Option<String>) {
        let phase = self.phase.borrow().clone();
        let (state, why) = match phase {
            Phase::On(lanes) => return self.state_of(lanes.listener()),
            Phase::Starting(_) => (EndpointState::Starting, "it is not consumed yet"),
            Phase::Leaving(_) => (EndpointState::Pausing, "it is being paused"),
            Phase::Paused => (EndpointState::Paused, "it is paused"),
            Phase::Stopped => (EndpointState::Stopped, "it is stopped"),
        };
        (state, Some(why.to_owned()))
    }

    fn state_of(&self, listener: &dyn Listener) -> (EndpointState, Option<String>) {
        let troubles = self.receiver.endpoint.troubles.health();
        let health = match (listener.health(), self.transport.health()) {
            (down @ Health::Down(_), _) | (_, down @ Health::Down(_)) => down,
            (listener, _) => listener,
        };
        match (health, troubles) {
            (Health::Down(why), Health::Degraded(also)) => {
                (EndpointState::Unavailable, Some(format!("{why}; {also}")))
            }
            (health, troubles) => match worse(health, troubles) {
                Health::Up => (EndpointState::Running, None),
                Health::Degraded(why) => (EndpointState::Degraded, Some(why)),
                Health::Down(why) => (EndpointState::Unavailable, Some(why)),
            },
        }
    }

    /// Starts to consume a queue that was just declared.
    ///
    /// Called once.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), TransportError> {
        let runner = Arc::downgrade(self);
        let troubles = self.receiver.endpoint.troubles.changes();
        let followed = follow(self.transport.health_changes(), troubles, move || {
            runner.upgrade().map(|runner| drop(runner.health()))
        });
        tokio::spawn(followed);
        self.go(async { Ok(()) }).await
    }

    /// Starts to consume after a pause, declaring the queue again in case it has gone.
    pub(crate) async fn resume(&self) -> Result<(), TransportError> {
        self.go(self.transport.declare(&self.spec.topology)).await
    }

    async fn go(
        &self,
        declared: impl Future<Output = Result<(), TransportError>>,
    ) -> Result<(), TransportError> {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        loop {
            let begin =
                |phase: &Phase| matches!(phase, Phase::Paused).then_some(Phase::Starting(start));
            match self.change(begin) {
                Phase::Paused => break,
                Phase::On(_) => return Ok(()),
                Phase::Stopped => return Err(interrupted("the bus is shut down")),
                Phase::Starting(_) | Phase::Leaving(_) => {
                    self.until(|phase| !matches!(phase, Phase::Starting(_) | Phase::Leaving(_)))
                        .await;
                }
            }
        }
        let _start = Start(self, start);
        let listener = async {
            declared.await?;
            self.transport.listen(self.spec.clone()).await
        };
        let listener = tokio::select! {
            biased;
            () = self.until(|phase| !phase.is_starting(start)) => return self.overtaken(),
            listener = listener => listener?,
        };
        self.run(start, listener).await
    }

    async fn run(&self, start: u64, listener: Arc<dyn Listener>) -> Result<(), TransportError> {
        let run = |phase: &Phase| {
            let lanes = || Workers::start(Arc::clone(&listener), &self.receiver, self.concurrency);
            phase
                .is_starting(start)
                .then(|| Phase::On(Arc::new(lanes())))
        };
        if self.change(run).is_starting(start) {
            return Ok(());
        }
        let _ = timeout(GOODBYE, listener.close()).await;
        self.overtaken()
    }

    /// Returns the error of a start that a pause or the stop has interrupted.
    fn overtaken(&self) -> Result<(), TransportError> {
        match &*self.phase.borrow() {
            Phase::Stopped => Err(interrupted("the bus is shut down")),
            _ => Err(interrupted(
                "the endpoint was paused before it was consumed",
            )),
        }
    }

    /// Takes no more messages and waits until those that run are done.
    ///
    /// They go on if the caller stops waiting.
    pub(crate) async fn pause(self: &Arc<Self>) {
        let runner = Arc::clone(self);
        // A pause that fails halfway leaves the rest to the stop.
        let _ = tokio::spawn(async move { runner.leave().await }).await;
    }

    async fn leave(&self) {
        let before = self.change(|phase| match phase {
            Phase::Starting(_) => Some(Phase::Paused),
            Phase::On(lanes) => Some(Phase::Leaving(Arc::clone(lanes))),
            _ => None,
        });
        match before {
            Phase::On(lanes) => {
                lanes.listener().stop().await;
                lanes.gone().await;
                lanes.listener().close().await;
                self.change(|phase| phase.is_leaving(&lanes).then_some(Phase::Paused));
            }
            Phase::Leaving(lanes) => self.until(|phase| !phase.is_leaving(&lanes)).await,
            _ => {}
        }
    }

    /// Stops for good; returns `true` if everything was done in time.
    ///
    /// Consumers have `limit`; then they are notified by `cancel`, and soon after dropped, so that
    /// their messages go back to the queue.
    pub(crate) async fn stop(&self, limit: Duration, cancel: &watch::Sender<bool>) -> bool {
        let before = self.change(|_| Some(Phase::Stopped));
        let (Phase::On(lanes) | Phase::Leaving(lanes)) = before else {
            return true;
        };
        let (_, gone) = tokio::join!(
            timeout(GOODBYE, lanes.listener().stop()),
            timeout(limit, lanes.gone()),
        );
        let in_time = gone.is_ok();
        if !in_time {
            cancel.send_replace(true);
            // Consumers that watch for it get a moment to end well.
            let _ = timeout(WIND_DOWN, lanes.gone()).await;
            lanes.abort();
            if timeout(WIND_DOWN, lanes.gone()).await.is_err() {
                tracing::error!(
                    endpoint = self.name(),
                    "a consumer blocks its thread and is left behind"
                );
            }
        }
        if timeout(GOODBYE, lanes.listener().close()).await.is_err() {
            tracing::warn!(
                endpoint = self.name(),
                "the broker does not answer; it finds out by itself that its consumer is gone"
            );
        }
        in_time
    }

    /// Gives back what is being handled, at once and without a notification.
    pub(crate) fn abandon(&self) {
        if let Phase::On(lanes) | Phase::Leaving(lanes) = self.change(|_| Some(Phase::Stopped)) {
            lanes.abort();
        }
    }

    /// Moves on to the phase that `next` chooses, if any; returns the one before.
    fn change(&self, next: impl FnOnce(&Phase) -> Option<Phase>) -> Phase {
        let mut before = Phase::Stopped;
        let changes = self.phase.send_if_modified(|phase| {
            before = phase.clone();
            let next = next(phase);
            let changes = next.is_some();
            *phase = next.unwrap_or_else(|| before.clone());
            changes
        });
        if changes {
            self.health();
        }
        before
    }

    async fn until(&self, holds: impl Fn(&Phase) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.phase.subscribe().wait_for(holds).await;
    }
}

fn interrupted(why: &str) -> TransportError {
    TransportError::new(TransportErrorKind::Closed, why)
}

/// A start under way; one that fails or is dropped leaves the endpoint paused.
struct Start<'a>(&'a EndpointRunner, u64);

impl Drop for Start<'_> {
    fn drop(&mut self) {
        let Self(runner, start) = self;
        runner.change(|phase| phase.is_starting(*start).then_some(Phase::Paused));
    }
}
