//! The loop of an endpoint: pulls deliveries and handles them on a few tasks.
//!
//! Up to the endpoint's concurrency of them run at once.

use std::future::poll_fn;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::pulled::Pulled;
use super::receiver::Receiver;
use crate::consume::{Control, Slot};
use crate::transport::{Listener, TransportError};

/// The lanes of an endpoint that is consumed.
///
/// Dropped, they give back what they were handling.
pub(crate) struct Workers {
    listener: Arc<dyn Listener>,
    tasks: Vec<AbortHandle>,
    alive: Arc<watch::Sender<usize>>,
}

impl Workers {
    pub(crate) fn start(listener: Arc<dyn Listener>, receiver: &Arc<Receiver>) -> Self {
        let alive = Arc::new(watch::Sender::new(0));
        let lanes = receiver.endpoint.control.slots().lanes();
        let tasks = (0..lanes).map(|number| {
            let alive = Alive::new(&alive);
            let lane = lane(Arc::clone(&listener), Arc::clone(receiver), number);
            let task = tokio::spawn(async move {
                let _alive = alive;
                lane.await;
            });
            task.abort_handle()
        });
        Self {
            tasks: tasks.collect(),
            listener,
            alive,
        }
    }

    pub(crate) fn listener(&self) -> &dyn Listener {
        &*self.listener
    }

    /// Waits until no lane runs.
    pub(crate) async fn gone(&self) {
        // The sender lives as long as `self`.
        let _ = self.alive.subscribe().wait_for(|alive| *alive == 0).await;
    }

    /// Ends the lanes; each drops what it is handling as soon as it waits.
    pub(crate) fn abort(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.abort();
    }
}

/// Counts a lane, until its task is gone, however it goes.
struct Alive(Arc<watch::Sender<usize>>);

impl Alive {
    fn new(alive: &Arc<watch::Sender<usize>>) -> Self {
        alive.send_modify(|alive| *alive += 1);
        Self(Arc::clone(alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.send_modify(|alive| *alive -= 1);
    }
}

/// Returns the number of lanes of an endpoint: one for each core.
pub(crate) fn lane_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs one lane: pulls a delivery whenever it has room.
///
/// All its messages run in this one task, so that one costs no task of its own; a consumer that
/// blocks its thread holds up the others of its lane.
async fn lane(listener: Arc<dyn Listener>, receiver: Arc<Receiver>, number: usize) {
    let control = &receiver.endpoint.control;
    let mut running = FuturesUnordered::new();
    let mut open = true;
    while open || !running.is_empty() {
        tokio::select! {
            // Running deliveries are polled first: they may make room.
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            next = pull(&*listener, control, number), if open => match next {
                Some(Ok(pulled)) => running.push(receiver.receive(pulled, &*listener)),
                Some(Err(error)) => {
                    tracing::warn!(endpoint = %receiver.endpoint.name, %error, "the transport reports an error");
                }
                None => {
                    open = false;
                    control.slots().leave();
                }
            }
        }
    }
}

/// Pulls a delivery once the lane has room for it; `None` if it gets no more.
///
/// One for which it is too early stays where it is, and takes no slot.
async fn pull(
    listener: &dyn Listener,
    control: &Control,
    lane: usize,
) -> Option<Result<Pulled, TransportError>> {
    let (slots, pace) = (control.slots(), control.pace());
    while slots.room(lane).await {
        if pace.is_limited() {
            tokio::select! {
                biased;
                () = slots.no_room(lane) => continue,
                () = pace.ready() => {}
            }
        }
        let mut next = listener.next();
        let next = poll_fn(|cx| slots.pull(|| pace.pull(|| next.as_mut().poll(cx))));
        tokio::select! {
            biased;
            () = slots.no_room(lane) => {}
            (next, arrival) = next => {
                // Another lane was faster, and it is too early for the next one.
                let Some(next) = next else { continue };
                return Some(next?.map(|delivery| Pulled {
                    delivery,
                    slot: Slot::take(slots, lane),
                    arrival,
                }));
            }
        }
    }
    None
}
