//! Publishing from many tasks through the one task that owns a confirm channel.

mod background;
mod confirm_channel;
mod future_pool;
mod gate;
mod loss;
mod pending;
mod refusal;
mod route;
mod schedule;
mod targets;
mod task;
mod unconfirmed;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus_core::transport::{Outgoing, TransportError};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use crate::connection::Link;
use crate::error::closed;
use pending::PendingPublish;
use task::{Closing, Command, PublishTask};

/// Takes messages from many tasks and reports the outcome of each.
pub(crate) struct Publisher {
    inbox: mpsc::UnboundedSender<Command>,
    marks: AtomicU64,
}

/// A receiver of the outcome of one message.
pub(crate) type Outcome = oneshot::Receiver<Result<(), TransportError>>;

impl Publisher {
    /// Starts the task that publishes.
    ///
    /// Publishers that share a connection share `solitude`.
    pub(crate) fn start(link: Arc<Link>, window: usize, solitude: Arc<Mutex<()>>) -> Self {
        let (inbox, orders) = mpsc::unbounded_channel();
        tokio::spawn(PublishTask::new(link, window, orders, solitude).run());
        Self {
            inbox,
            marks: AtomicU64::new(1),
        }
    }

    /// Prepares a message to be handed over.
    ///
    /// The outcome is `Ok` when the broker has confirmed the message. A receiver that ends without
    /// an outcome means that the publisher was closed.
    pub(crate) fn prepare(
        &self,
        outgoing: Outgoing,
    ) -> Result<(Box<PendingPublish>, Outcome), TransportError> {
        let (done, outcome) = oneshot::channel();
        let mark = self.marks.fetch_add(1, Ordering::Relaxed);
        Ok((
            Box::new(PendingPublish::new(outgoing, mark, done)?),
            outcome,
        ))
    }

    pub(crate) fn hand_over(&self, pending: Box<PendingPublish>) -> Result<(), TransportError> {
        self.inbox
            .send(Command::Publish(pending))
            .map_err(|_| closed())
    }

    /// Waits until everything that was handed over has its outcome, or for `limit`.
    ///
    /// No message is taken afterwards. Returns the number of messages that have no outcome by then;
    /// they end with an error, and the task ends with them.
    pub(crate) async fn close(&self, limit: Duration) -> usize {
        let (left, done) = oneshot::channel();
        let until = Instant::now() + limit;
        let asked = self.inbox.send(Command::Close(Closing { until, left }));
        match asked {
            Ok(()) => done.await.unwrap_or_default(),
            // The task is gone already.
            Err(_) => 0,
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}
