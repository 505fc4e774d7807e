//! One endpoint of a running bus: starts, pauses, goes on, and stops.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::phase::Phase;
use super::receiver::Receiver;
use super::status::{State, Status, follow};
use super::worker::Workers;
use crate::consume::{Control, Pause, Wish};
use crate::error::LimitError;
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
    /// Current phase, without a lock from one step to the next: a stop need not wait.
    phase: watch::Sender<Phase>,
    starts: AtomicU64,
    status: Status,
    /// Error of the last try to resume by itself.
    setback: Mutex<Option<String>>,
}

impl EndpointRunner {
    pub(crate) fn new(
        receiver: Arc<Receiver>,
        transport: Arc<dyn Transport>,
        spec: ListenSpec,
    ) -> Self {
        let endpoint = &receiver.endpoint;
        let status = Status::new(&endpoint.name, endpoint.outbound.observers.clone());
        Self {
            status,
            receiver,
            transport,
            spec,
            phase: watch::Sender::new(Phase::New),
            starts: AtomicU64::new(0),
            setback: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.receiver.endpoint.name
    }

    /// Returns the limits of the endpoint, and what it was asked to do.
    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.receiver.endpoint.control
    }

    /// Returns the health of the endpoint, as currently known.
    pub(crate) fn health(&self) -> EndpointHealth {
        self.status.note(|| self.state())
    }

    fn state(&self) -> State {
        let phase = self.phase.borrow().clone();
        match (phase, self.control().wish()) {
            (Phase::On(_) | Phase::Leaving(_), Wish::Pause(pause)) => State::pausing(&pause),
            (Phase::New | Phase::Paused, Wish::Pause(pause)) => State::paused(&pause),
            (Phase::Paused, Wish::Resume) => {
                let setback = self.setback().clone();
                let why = setback.unwrap_or_else(|| "it is being resumed".to_owned());
                State::new(EndpointState::Unavailable, Some(why))
            }
            (Phase::On(lanes), _) => self.state_of(lanes.listener()),
            (Phase::New | Phase::Starting(_), _) => {
                State::because(EndpointState::Starting, "it is not consumed yet")
            }
            (Phase::Leaving(_), _) => State::because(EndpointState::Pausing, "it is being paused"),
            (Phase::Paused, _) => State::because(EndpointState::Paused, "it is paused"),
            (Phase::Stopped, _) => State::because(EndpointState::Stopped, "it is stopped"),
        }
    }

    fn state_of(&self, listener: &dyn Listener) -> State {
        let troubles = worse(
            self.receiver.trial(),
            self.receiver.endpoint.troubles.health(),
        );
        let health = match (listener.health(), self.transport.health()) {
            (down @ Health::Down(_), _) | (_, down @ Health::Down(_)) => down,
            (listener, _) => listener,
        };
        match (health, troubles) {
            (Health::Down(why), Health::Degraded(also)) => {
                State::new(EndpointState::Unavailable, Some(format!("{why}; {also}")))
            }
            (health, troubles) => match worse(health, troubles) {
                Health::Up => State::new(EndpointState::Running, None),
                Health::Degraded(why) => State::new(EndpointState::Degraded, Some(why)),
                Health::Down(why) => State::new(EndpointState::Unavailable, Some(why)),
            },
        }
    }

    fn setback(&self) -> MutexGuard<'_, Option<String>> {
        self.setback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes why the endpoint could not resume by itself yet.
    pub(crate) fn set_back(&self, error: &TransportError) {
        *self.setback() = Some(error.to_string());
        self.health();
    }

    /// Starts to consume a queue that was just declared.
    ///
    /// Called once. Stays paused if it was asked to before.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), TransportError> {
        let runner = Arc::downgrade(self);
        let troubles = self.receiver.endpoint.troubles.changes();
        let followed = follow(self.transport.health_changes(), troubles, move || {
            runner.upgrade().map(|runner| drop(runner.health()))
        });
        tokio::spawn(followed);
        if self.control().is_paused() {
            return Ok(());
        }
        self.go(async { Ok(()) }).await
    }

    /// Ends all pauses, and starts to consume.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), TransportError> {
        self.control().forget();
        self.go_on().await
    }

    /// Starts to consume after a pause, declaring the queue again in case it has gone.
    pub(crate) async fn go_on(self: &Arc<Self>) -> Result<(), TransportError> {
        self.go(self.transport.declare(&self.spec.topology)).await
    }

    async fn go(
        self: &Arc<Self>,
        declared: impl Future<Output = Result<(), TransportError>>,
    ) -> Result<(), TransportError> {
        let Some(start) = self.begin_start().await? else {
            return Ok(());
        };
        let _start = Start(self, start);
        let spec = ListenSpec {
            prefetch: self.control().limits().prefetch,
            ..self.spec.clone()
        };
        let prefetch = spec.prefetch;
        let listener = async {
            declared.await?;
            self.transport.listen(spec).await
        };
        let listener = tokio::select! {
            biased;
            () = self.until(|phase| !phase.is_starting(start)) => return Err(self.overtaken()),
            listener = listener => listener?,
        };
        self.run(start, Arc::clone(&listener)).await?;
        let now = self.control().limits().prefetch;
        if now != prefetch {
            listener.set_prefetch(now).await?;
        }
        Ok(())
    }

    /// Waits for a start or a pause under way, then begins a start.
    ///
    /// Returns its number; `None` if the endpoint takes messages already.
    async fn begin_start(self: &Arc<Self>) -> Result<Option<u64>, TransportError> {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        loop {
            let mut begins = false;
            let before = self.change(|phase| {
                let is_off = matches!(phase, Phase::New | Phase::Paused);
                // A pause that was asked for during the wait finds nothing that it could end.
                begins = is_off && !self.control().is_paused();
                begins.then_some(Phase::Starting(start))
            });
            match before {
                Phase::New | Phase::Paused if begins => return Ok(Some(start)),
                Phase::New | Phase::Paused | Phase::Stopped => return Err(self.overtaken()),
                // A pause was asked for and taken back before it began.
                Phase::On(_) if self.control().slots().is_leaving() => self.leave(|| true).await,
                Phase::On(_) => return Ok(None),
                Phase::Starting(_) | Phase::Leaving(_) => {
                    self.until(|phase| !matches!(phase, Phase::Starting(_) | Phase::Leaving(_)))
                        .await;
                }
            }
        }
    }

    async fn run(&self, start: u64, listener: Arc<dyn Listener>) -> Result<(), TransportError> {
        let mut runs = false;
        self.change(|phase| {
            runs = phase.is_starting(start) && self.control().open();
            if runs {
                self.receiver.begin_trial();
            }
            let lanes = || Workers::start(Arc::clone(&listener), &self.receiver);
            runs.then(|| Phase::On(Arc::new(lanes())))
        });
        if runs {
            return Ok(());
        }
        let _ = timeout(GOODBYE, listener.close()).await;
        Err(self.overtaken())
    }

    /// Returns the error of a start that a pause or the stop has interrupted.
    fn overtaken(&self) -> TransportError {
        let why = match &*self.phase.borrow() {
            Phase::Stopped => "the bus is shut down",
            _ => "the endpoint was paused before it was consumed",
        };
        TransportError::new(TransportErrorKind::Closed, why)
    }

    /// Takes no more messages and waits until those that run are done.
    ///
    /// They go on if the caller stops waiting.
    pub(crate) async fn pause(self: &Arc<Self>) {
        self.control().pause(Pause::endless(None));
        self.leave_if_asked().await;
    }

    /// Takes no more messages, unless the wish for a pause was taken back.
    pub(crate) async fn leave_if_asked(self: &Arc<Self>) {
        self.leave(|| self.control().is_paused()).await;
    }

    /// Takes no more messages, and waits until those that run are done.
    ///
    /// A pause that has begun goes on if the caller stops waiting.
    async fn leave(self: &Arc<Self>, is_asked: impl FnOnce() -> bool) {
        let mut leaves = false;
        let before = self.change(|phase| {
            leaves = is_asked();
            match phase {
                Phase::Starting(_) if leaves => Some(Phase::Paused),
                Phase::On(lanes) if leaves => Some(Phase::Leaving(Arc::clone(lanes))),
                _ => None,
            }
        });
        match before {
            Phase::On(lanes) if leaves => {
                let left = Arc::clone(self).end(lanes);
                // One that fails halfway leaves the rest to the stop.
                let _ = tokio::spawn(left).await;
            }
            Phase::Leaving(lanes) => self.until(|phase| !phase.is_leaving(&lanes)).await,
            _ => {}
        }
    }

    async fn end(self: Arc<Self>, lanes: Arc<Workers>) {
        self.control().slots().leave();
        lanes.listener().stop().await;
        lanes.gone().await;
        lanes.listener().close().await;
        self.change(|phase| phase.is_leaving(&lanes).then_some(Phase::Paused));
    }

    /// Sets the number of messages that the broker hands out unacknowledged.
    pub(crate) async fn set_prefetch(&self, count: u16) -> Result<(), LimitError> {
        let before = self.control().set_prefetch(count)?;
        let phase = self.phase.borrow().clone();
        let Phase::On(lanes) = phase else {
            return Ok(());
        };
        let set = lanes.listener().set_prefetch(count).await;
        if set.is_err() {
            // It was allowed before, unless the concurrency has been raised meanwhile.
            let _ = self.control().set_prefetch(before);
        }
        Ok(set?)
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
        self.control().slots().leave();
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

    /// Waits until the endpoint has stopped for good, or is gone.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase.subscribe();
        async move {
            let _ = phase
                .wait_for(|phase| matches!(phase, Phase::Stopped))
                .await;
        }
    }

    async fn until(&self, holds: impl Fn(&Phase) -> bool) {
        // The sender lives as long as `self`.
        let _ = self.phase.subscribe().wait_for(holds).await;
        // The task that made the change may not have reported it yet, and what the caller does
        // next would hide it from observers.
        self.health();
    }
}

/// A start under way; one that fails or is dropped leaves the endpoint paused.
struct Start<'a>(&'a EndpointRunner, u64);

impl Drop for Start<'_> {
    fn drop(&mut self) {
        let Self(runner, start) = self;
        runner.change(|phase| phase.is_starting(*start).then_some(Phase::Paused));
    }
}
