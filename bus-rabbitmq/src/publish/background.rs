//! Background tasks of a publisher: declarations, pauses, waits for the broker.
//!
//! They run beside the writing, so that a target that is slow to declare holds up its own messages
//! only. Those of a connection end with it: the schedule forgets that it asked for them, and asks
//! again on the next one.

use std::sync::Arc;

use bus_core::transport::{Backoff, Target, TransportError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, oneshot};

use super::pending::RouteId;
use super::schedule::BackgroundTask;
use crate::connection::Live;
use crate::error::no_exchange;
use crate::topology::{self, KnownQueues};

/// Number of targets that are declared at once, each on its own channel.
///
/// After a reconnect every target is declared again; without a bound, a process with thousands of
/// them would open as many channels.
const DECLARING: usize = 16;

/// Background tasks of one connection.
pub(crate) struct Background {
    live: Arc<Live>,
    declaring: Arc<Semaphore>,
    solitude: Arc<Mutex<()>>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    queues: KnownQueues,
}

/// Outcome of a background task.
pub(crate) enum Done {
    /// Outcome of a declaration; a transient error is tried again after a rest.
    Declared(RouteId, Result<(), TransportError>),
    /// End of a pause, with the back-off for the next one.
    Rested(RouteId, Backoff),
    /// Number of an unconfirmed message that was read, with all before it.
    Read(u64),
    /// Right to send messages that may make the broker close the connection.
    Alone(OwnedMutexGuard<()>),
    /// End of a wait for the reading of a message that was confirmed, or lost, first.
    Nothing,
}

impl Background {
    pub(crate) fn new(live: Arc<Live>, solitude: Arc<Mutex<()>>, queues: KnownQueues) -> Self {
        Self {
            live,
            declaring: Arc::new(Semaphore::new(DECLARING)),
            solitude,
            running: FuturesUnordered::new(),
            queues,
        }
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Starts a task; its outcome comes from [`next`](Self::next).
    pub(crate) fn begin(&self, background_task: BackgroundTask) {
        let queues = self.queues.clone();
        let (live, declaring) = (Arc::clone(&self.live), Arc::clone(&self.declaring));
        let solitude = Arc::clone(&self.solitude);
        self.running.push(Box::pin(async move {
            match background_task {
                BackgroundTask::Declare(route, target) => {
                    let queue = match &target {
                        Target::Queue(name) => Some(&**name),
                        Target::Exchange { .. } | Target::Inbox(_) => None,
                    };
                    let declared = async {
                        if let Some(queue) = queue {
                            queues.leave_to_owner(&live, queue).await?;
                        }
                        // The semaphore is never closed.
                        let _turn = declaring.acquire().await;
                        declare(&live, &target).await
                    };
                    let outcome = live.ask(declared).await;
                    if let (Some(queue), Ok(())) = (queue, &outcome) {
                        queues.note(queue);
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

    /// Adds a task that waits until the broker has read a message.
    ///
    /// The returned sender reports that; if it is dropped, the task ends without an outcome.
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

    /// Returns the outcome of the next task that ends; cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Done> {
        self.running.next().await
    }
}

/// Declares the target of a message, or checks that it exists.
///
/// An exchange without topology belongs to another service and is looked for with a passive
/// `exchange.declare`. An inbox is a reply queue, which its owner has declared: the default
/// exchange always exists.
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
