//! The loop of an endpoint: pulls deliveries and handles up to its concurrency of them at once, on a few tasks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::health::worse;
use crate::receiver::Receiver;
use crate::slots::Slots;
use crate::transport::{Delivery, Health, ListenSpec, Listener, Transport, TransportError};

/// An endpoint that can run, be paused and resumed, and stop.
pub(crate) struct Runner {
    receiver: Arc<Receiver>,
    transport: Arc<dyn Transport>,
    spec: ListenSpec,
    concurrency: usize,
    running: Mutex<Option<Running>>,
}

struct Running {
    listener: Arc<dyn Listener>,
    lanes: JoinSet<()>,
}

impl Runner {
    pub(crate) fn new(
        receiver: Arc<Receiver>,
        transport: Arc<dyn Transport>,
        spec: ListenSpec,
        concurrency: usize,
    ) -> Self {
        Self {
            receiver,
            transport,
            spec,
            concurrency,
            running: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.receiver.site.endpoint
    }

    /// How it is, as known now.
    pub(crate) fn health(&self) -> Health {
        match self.running.try_lock().as_deref() {
            Ok(Some(running)) => worse(
                running.listener.health(),
                self.receiver.site.troubles.health(),
            ),
            Ok(None) => Health::Down("it is paused".into()),
            Err(_) => Health::Down("it starts or stops".into()),
        }
    }

    /// Starts to consume; does nothing if it does already.
    pub(crate) async fn start(&self) -> Result<(), TransportError> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let listener = self.transport.listen(self.spec.clone()).await?;
            let mut lanes = JoinSet::new();
            for share in shares(self.concurrency, worker_count()) {
                let slots = Slots::new(share, self.concurrency == 1);
                lanes.spawn(lane(
                    Arc::clone(&listener),
                    Arc::clone(&self.receiver),
                    slots,
                ));
            }
            *running = Some(Running { listener, lanes });
        }
        Ok(())
    }

    /// Takes no more messages and waits until those that run are done.
    pub(crate) async fn pause(&self) {
        if let Some(mut running) = self.running.lock().await.take() {
            running.listener.stop().await;
            while running.lanes.join_next().await.is_some() {}
            running.listener.close().await;
        }
    }

    /// The same within `limit`; then consumers are told by `cancel`, and soon after dropped, so that their messages go
    /// back to the queue. Whether everything was done in time.
    pub(crate) async fn stop(&self, limit: Duration, cancel: &watch::Sender<bool>) -> bool {
        let Some(mut running) = self.running.lock().await.take() else {
            return true;
        };
        running.listener.stop().await;
        let finished = async { while running.lanes.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(limit, finished).await.is_ok();
        if !in_time {
            cancel.send_replace(true);
            let wind_down = async { while running.lanes.join_next().await.is_some() {} };
            // Consumers that watch for it get a moment to end well.
            let _ = tokio::time::timeout(WIND_DOWN, wind_down).await;
            running.lanes.shutdown().await;
        }
        running.listener.close().await;
        in_time
    }
}

/// How long cancelled consumers have to end.
const WIND_DOWN: Duration = Duration::from_secs(1);

fn worker_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Splits the concurrency over the lanes.
fn shares(concurrency: usize, lanes: usize) -> impl Iterator<Item = usize> {
    let lanes = lanes.clamp(1, concurrency.max(1));
    (0..lanes).map(move |lane| concurrency / lanes + usize::from(lane < concurrency % lanes))
}

/// Pulls whenever it has room. All its messages run in this one task, so that one costs no task of its own; a consumer
/// that blocks its thread holds up the others of its lane.
async fn lane(listener: Arc<dyn Listener>, receiver: Arc<Receiver>, slots: Arc<Slots>) {
    let mut running = FuturesUnordered::new();
    let mut open = true;
    while open || !running.is_empty() {
        tokio::select! {
            // What runs is looked at first: it may make room.
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            next = pull(&*listener, &slots), if open => match next {
                Some(Ok(delivery)) => {
                    running.push(receiver.receive(delivery, &*listener, slots.take()));
                }
                Some(Err(error)) => {
                    tracing::warn!(endpoint = %receiver.site.endpoint, %error, "the transport reports an error");
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
