//! Background tasks of a publisher: declarations, pauses, questions to the broker.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bus_core::transport::{Backoff, Target, TransportError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, oneshot};

use super::pending::RouteId;
use super::schedule::BackgroundTask;
use crate::connection::Live;
use crate::error::no_exchange;
use crate::topology;

/// The number of targets that are declared at once, each on its own channel.
const DECLARING: usize = 16;

/// How long a queue that was deleted is left to its owner, who knows its kind: a little longer than an endpoint takes to
/// declare its queue again without being told of the loss.
const OWNER: Duration = Duration::from_secs(6);

/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// The background tasks of one connection.
pub(crate) struct Background {
    live: Arc<Live>,
    declaring: Arc<Semaphore>,
    solitude: Arc<Mutex<()>>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    /// The queues that were there before.
    queues: Arc<std::sync::Mutex<HashSet<String>>>,
}

/// A background task that was done.
pub(crate) enum Done {
    Declared(RouteId, Result<(), TransportError>),
    Rested(RouteId, Backoff),
    /// The broker has read this one of the unconfirmed messages, and all before it.
    Read(u64),
    /// The right to send what may break the connection.
    Alone(OwnedMutexGuard<()>),
    Nothing,
}

impl Background {
    pub(crate) fn new(live: Arc<Live>, solitude: Arc<Mutex<()>>) -> Self {
        Self {
            live,
            declaring: Arc::new(Semaphore::new(DECLARING)),
            solitude,
            running: FuturesUnordered::new(),
            queues: Arc::default(),
        }
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    pub(crate) fn begin(&self, background_task: BackgroundTask) {
        let queues = Arc::clone(&self.queues);
        let (live, declaring) = (Arc::clone(&self.live), Arc::clone(&self.declaring));
        let solitude = Arc::clone(&self.solitude);
        self.running.push(Box::pin(async move {
            match background_task {
                BackgroundTask::Declare(route, target) => {
                    let known = || queues.lock().unwrap_or_else(PoisonError::into_inner);
                    let is_queue = matches!(target, Target::Queue(_));
                    let is_lost = is_queue && known().contains(target.name());
                    let declared = async {
                        if is_lost {
                            leave_to_owner(&live, target.name()).await?;
                        }
                        // It is never closed.
                        let _turn = declaring.acquire().await;
                        declare(&live, &target).await
                    };
                    let outcome = live.ask(declared).await;
                    if is_queue && outcome.is_ok() {
                        known().insert(target.name().to_owned());
                    }
                    Done::Declared(route, outcome)
                }
                BackgroundTask::Rest(route, mut backoff) => {
                    backoff.wait().await;
                    Done::Rested(route, backoff)
                }
                BackgroundTask::Solitude => Done::Alone(solitude.lock_owned().await),
            }
        }));
    }

    /// Waits for the word that the broker has read a message.
    pub(crate) fn wait_until_read(&self, order: u64) -> oneshot::Sender<()> {
        let (read, word) = oneshot::channel();
        self.running.push(Box::pin(async move {
            word.await.map_or(Done::Nothing, |()| Done::Read(order))
        }));
        read
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next one that is done. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Done> {
        self.running.next().await
    }
}

/// Waits until the owner of a queue has declared it again, or does not seem to.
///
/// A sender makes a classic queue. Made in place of a quorum queue, it would keep the endpoint from its messages.
async fn leave_to_owner(live: &Live, name: &str) -> Result<(), TransportError> {
    let appears = async {
        while !topology::queue_exists(live, name).await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::time::timeout(OWNER, appears).await.unwrap_or(Ok(()))
}

/// Makes sure that a message finds what it is sent to.
async fn declare(live: &Live, target: &Target) -> Result<(), TransportError> {
    match target {
        Target::Inbox(_) => Ok(()),
        Target::Queue(name) => topology::ensure_queue(live, name).await,
        Target::Exchange {
            topology: Some(topology),
            ..
        } => topology::declare(live, topology).await,
        Target::Exchange {
            name,
            topology: None,
        } => {
            if topology::exchange_exists(live, name).await? {
                Ok(())
            } else {
                Err(no_exchange(name))
            }
        }
    }
}
