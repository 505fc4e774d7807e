//! Broker: its state, its lock, and the effects once the lock is released.

mod consumers;
mod declare;
mod disorder;
mod due;
pub(crate) mod errors;
mod exchange;
mod flow;
mod hold;
mod message;
pub(crate) mod publish;
mod queue;
mod ready;
mod routes;
mod routing;
mod schedule;
mod settings;
mod state;

pub(crate) use consumers::{ConnectionId, Consumer, ConsumerId};
pub(crate) use message::{Message, Name};
pub(crate) use publish::Publication;
pub(crate) use state::State;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Broker in the process.
///
/// It is gone with its last handle, even if messages are scheduled.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    inner: Mutex<Inner>,
    idle: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    timer: Option<Timer>,
}

/// Task that waits for scheduled jobs; there only while there are any.
#[derive(Debug)]
struct Timer {
    task: JoinHandle<()>,
    /// Time until which it sleeps.
    until: Instant,
    earlier: Arc<Notify>,
}

impl Broker {
    /// Works on the state, then wakes the waiters that are concerned.
    ///
    /// The lock is never held across an await.
    pub(crate) fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut State) -> T) -> T {
        let mut inner = self.lock();
        let was_busy = inner.state.flow.in_flight > 0;
        let result = work(&mut inner.state);
        self.keep_time(&mut inner);
        let is_idle = was_busy && inner.state.flow.in_flight == 0;
        let wakes = std::mem::take(&mut inner.state.flow.wakes);
        drop(inner);
        for waiting in wakes {
            waiting.notify_waiters();
        }
        if is_idle {
            self.idle.notify_waiters();
        }
        result
    }

    /// Notified whenever the last delivery in flight was settled.
    pub(crate) fn idle(&self) -> &Notify {
        &self.idle
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while it was held leaves at most one message in between.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the timer or has it look again, if something is due before it would wake.
    fn keep_time(self: &Arc<Self>, inner: &mut Inner) {
        let Some(due) = inner.state.schedule.next() else {
            return;
        };
        match &mut inner.timer {
            // A task ends early with the runtime it ran on, and the next runtime takes over.
            Some(timer) if !timer.task.is_finished() => {
                if due < timer.until {
                    timer.until = due;
                    timer.earlier.notify_one();
                }
            }
            timer => {
                // Deliveries may be dropped, and so requeued and expired, outside of any runtime.
                if let Ok(runtime) = Handle::try_current() {
                    let earlier = Arc::new(Notify::new());
                    let task = tick(Arc::downgrade(self), Arc::clone(&earlier));
                    *timer = Some(Timer {
                        task: runtime.spawn(task),
                        until: due,
                        earlier,
                    });
                }
            }
        }
    }

    /// Runs the due jobs; returns the time until which to sleep.
    ///
    /// `None` ends the timer.
    fn tick(self: &Arc<Self>) -> Option<Instant> {
        self.with(State::run_due);
        let mut inner = self.lock();
        let next = inner.state.schedule.next();
        match (next, &mut inner.timer) {
            (Some(next), Some(timer)) => timer.until = next,
            (_, timer) => *timer = None,
        }
        next
    }
}

/// Runs the timer.
///
/// It holds the broker only while it works, so that a broker that is dropped meanwhile is gone.
async fn tick(broker: Weak<Broker>, earlier: Arc<Notify>) {
    loop {
        let Some(next) = broker.upgrade().and_then(|broker| broker.tick()) else {
            return;
        };
        tokio::select! {
            () = sleep_until(next) => {}
            () = earlier.notified() => {}
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(timer) = &inner.timer {
            timer.task.abort();
        }
    }
}
