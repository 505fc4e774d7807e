//! Publishing from many tasks through the one task that owns a confirm channel.
//!
//! ```text
//!  send ──► Publisher ──mpsc──► PublishTask ──► Schedule::next ──► basic.publish ──► broker
//!    ▲                           │      ▲                                             │
//!    │                           ▼      └─ Background: declare, rest, wait            │
//!    └───────── outcome ◄── Unconfirmed ◄──────────── basic.ack / nack / return ◄─────┘
//! ```
//!
//! A message passes through these states:
//!
//! ```text
//!  waiting ──► held at its route ──► unconfirmed ──► confirmed ──► Ok
//!    ▲   └──────────────────────────────▲  │  │ └──► returned ───► declared again, or Unroutable
//!    │                                     │  └────► refused ────► held, after a rest
//!    └───── channel lost, or closed ───────┘
//! ```
//!
//! # Invariants
//!
//! - One task writes to a channel. The client reserves the delivery tag of a message under one lock
//!   and queues its frames under another, so two writers could swap the tags of their messages.
//! - Messages leave in the order of [`hand_over`](Publisher::hand_over), but for those whose target
//!   cannot take them yet. Those keep their order among each other.
//! - A message ends exactly once, with `Ok` only after `basic.ack` and after it is known that the
//!   broker did not return it.
//! - A message whose outcome is unknown when its channel is lost is sent again with the same id,
//!   until its deadline.

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
use crate::topology::KnownQueues;
use pending::PendingPublish;
use task::{Closing, Command, PublishTask};

/// Takes messages from many tasks and reports the outcome of each.
///
/// Handing over never waits: the queue to the task has no bound. The bound is the window of
/// unconfirmed messages, and every sender waits for its own outcome.
pub(crate) struct Publisher {
    inbox: mpsc::UnboundedSender<Command>,
    /// Next mark, unique for the publisher.
    ///
    /// Never used again, so no return of a lost channel fits a later message.
    marks: AtomicU64,
}

/// Receiver of the outcome of one message.
///
/// Dropping it gives the message up: one that is not written yet never leaves. One that is on its
/// way keeps its place until its confirm, as the client keeps its own record of it that long.
pub(crate) type Outcome = oneshot::Receiver<Result<(), TransportError>>;

impl Publisher {
    /// Starts the task that publishes on channels of this link.
    ///
    /// `window` bounds the number of messages without a confirm. Publishers that share a connection
    /// share `solitude`: while one of them sends a message that may make the broker close the whole
    /// connection, the others send no such message.
    pub(crate) fn start(
        link: Arc<Link>,
        window: usize,
        solitude: Arc<Mutex<()>>,
        queues: KnownQueues,
    ) -> Self {
        let (inbox, orders) = mpsc::unbounded_channel();
        tokio::spawn(PublishTask::new(link, window, orders, solitude, queues).run());
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

    /// Puts a message behind all that were handed over before.
    ///
    /// Fails only if the publisher was closed. May be called without a connection: the message
    /// waits for one until its deadline.
    pub(crate) fn hand_over(&self, pending: Box<PendingPublish>) -> Result<(), TransportError> {
        self.inbox
            .send(Command::Publish(pending))
            .map_err(|_| closed())
    }

    /// Waits until everything that was handed over has its outcome, or for `limit`.
    ///
    /// No message is taken afterwards. Returns the number of messages that have no outcome by then;
    /// they end with the error `Closed`, and the task ends with them. Without a connection there is
    /// nothing to wait for, so the task ends at once.
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
