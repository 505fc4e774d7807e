//! The loop of an endpoint: pulls deliveries and handles them on a few tasks.
//!
//! Up to the endpoint's concurrency of them run at once.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::receiver::Receiver;
use crate::consume::Slots;
use crate::transport::{Delivery, Listener, TransportError};

/// The lanes of an endpoint that is consumed.
///
/// Dropped, they give back what they were handling.
pub(crate) struct Workers {
    listener: Arc<dyn Listener>,
    tasks: Vec<AbortHandle>,
    alive: Arc<watch::Sender<usize>>,
}

impl Workers {
    pub(crate) fn start(
        listener: Arc<dyn Listener>,
        receiver: &Arc<Receiver>,
        concurrency: usize,
    ) -> Self {
        let alive = Arc::new(watch::Sender::new(0));
        let tasks = shares(concurrency, worker_count()).map(|share| {
            let slots = Slots::new(share, concurrency == 1);
            let alive = Alive::new(&alive);
            let lane = lane(Arc::clone(&listener), Arc::clone(receiver), slots);
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

fn worker_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Splits the concurrency over the lanes.
fn shares(concurrency: usize, lanes: usize) -> impl Iterator<Item = usize> {
    let lanes = lanes.clamp(1, concurrency.max(1));
    (0..lanes).map(move |lane| concurrency / lanes + usize::from(lane < concurrency % lanes))
}

/// Runs one lane: pulls a delivery whenever it has room.
///
/// All its messages run in this one task, so that one costs no task of its own; a consumer that
/// blocks its thread holds up the others of its lane.
async fn lane(listener: Arc<dyn Listener>, receiver: Arc<Receiver>, slots: Arc<Slots>) {
    let mut running = FuturesUnordered::new();
    let mut open = true;
    while open || !running.is_empty() {
        tokio::select! {
            // Running deliveries are polled first: they may make room.
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            next = pull(&*listener, &slots), if open => match next {
                Some(Ok(delivery)) => {
                    running.push(receiver.receive(delivery, &*listener, slots.take()));
                }
                Some(Err(error)) => {
                    tracing::warn!(endpoint = %receiver.endpoint.name, %error, "the transport reports an error");
                }
                None => {
                    open = false;
                    slots.leave();
                }
            }
        }
    }
}

async fn pull(listener: &dyn Listener, slots: &Slots) -> Option<Result<Delivery, TransportError>> {
    slots.room().await;
    listener.next().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (concurrency, lanes, expected) in [
            (1, 4, vec![1]),
            (16, 2, vec![8, 8]),
            (5, 2, vec![3, 2]),
            (3, 8, vec![1, 1, 1]),
        ] {
            assert_eq!(shares(concurrency, lanes).collect::<Vec<_>>(), expected);
        }
    }
}
