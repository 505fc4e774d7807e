//! Scheduled work: delayed messages, expiring messages, unused queues.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bus_core::transport::{ScheduleToken, TransportError};
use tokio::time::Instant;

use super::disorder::Held;
use super::message::{Entry, Message, Name};
use super::queue::Queue;
use crate::broker::errors;

/// Jobs by the time at which they are due; those of one time in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    jobs: BinaryHeap<Timed>,
    sequence: u64,
    delayed: usize,
}

#[derive(Debug)]
pub(super) enum Job {
    Deliver(Arc<Message>, Option<ScheduleToken>),
    /// Puts a message into its queue that was held so that others overtake it.
    Release(Held),
    /// Gives a message back to its queue that was deferred.
    Return(Name, Entry),
    /// Looks for expired messages; there are none if they were consumed meanwhile.
    Expire(Name),
    /// Deletes a queue, unless it was used meanwhile.
    Delete(Name),
}

#[derive(Debug)]
pub(super) struct Timed {
    pub(super) due: Instant,
    sequence: u64,
    pub(super) job: Job,
}

impl Schedule {
    /// Keeps a message until it is due, or cancelled by its token.
    ///
    /// # Errors
    /// Fails without a tokio runtime, as nothing would ever deliver the message.
    pub(crate) fn deliver_at(
        &mut self,
        due: Instant,
        message: Arc<Message>,
        token: Option<ScheduleToken>,
    ) -> Result<(), TransportError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(errors::no_runtime());
        }
        self.delayed += 1;
        self.add(due, Job::Deliver(message, token));
        Ok(())
    }

    /// Keeps a deferred message until it comes again.
    pub(super) fn return_at(&mut self, due: Instant, queue: Name, entry: Entry) {
        self.delayed += 1;
        self.add(due, Job::Return(queue, entry));
    }

    /// Removes the messages with the token; returns `true` if there was one.
    pub(crate) fn cancel(&mut self, token: ScheduleToken) -> bool {
        let before = self.jobs.len();
        self.jobs
            .retain(|timed| !matches!(timed.job, Job::Deliver(_, Some(of)) if of == token));
        let cancelled = before - self.jobs.len();
        self.delayed -= cancelled;
        cancelled > 0
    }

    /// Keeps a message until others had time to overtake it.
    pub(super) fn release_at(&mut self, due: Instant, held: Held) {
        self.add(due, Job::Release(held));
    }

    /// Schedules the expiry of a queue's messages, unless that is done already.
    pub(crate) fn look_after(&mut self, queue: &mut Queue) {
        let Some(due) = queue.ready.next_expiry() else {
            return;
        };
        if queue.expiry_at.is_none_or(|scheduled| due < scheduled) {
            queue.expiry_at = Some(due);
            self.add(due, Job::Expire(Arc::clone(&queue.name)));
        }
    }

    /// Schedules the deletion of an unused queue.
    ///
    /// A queue that is used meanwhile is looked at again then, so that consumers that come and go
    /// leave no trail of jobs.
    pub(crate) fn delete_if_unused(&mut self, queue: &mut Queue) {
        if queue.deletion_at.is_none()
            && let Some(due) = queue.unused_until()
        {
            queue.deletion_at = Some(due);
            self.add(due, Job::Delete(Arc::clone(&queue.name)));
        }
    }

    fn add(&mut self, due: Instant, job: Job) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.jobs.push(Timed { due, sequence, job });
    }

    /// Time at which the next job is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.jobs.peek().map(|timed| timed.due)
    }

    /// Number of messages that wait for the end of their delay.
    pub(crate) fn delayed(&self) -> usize {
        self.delayed
    }

    /// Takes the next job that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timed> {
        if self.next()? > now {
            return None;
        }
        let timed = self.jobs.pop()?;
        if let Job::Deliver(..) | Job::Return(..) = timed.job {
            self.delayed -= 1;
        }
        Some(timed)
    }
}

impl Ord for Timed {
    /// Orders the earliest as the greatest, as the heap gives out the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.sequence).cmp(&(self.due, self.sequence))
    }
}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timed {}
