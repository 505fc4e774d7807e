//! What happens later: delayed messages, expiring messages, unused queues.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use bus_core::transport::TransportError;
use tokio::time::Instant;

use crate::errors;
use crate::message::{Message, Name};
use crate::queue::Queue;
use crate::state::State;

/// Jobs by the time at which they are due; those of one time in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    jobs: BinaryHeap<Timed>,
    sequence: u64,
    delayed: usize,
}

#[derive(Debug)]
enum Job {
    Deliver(Arc<Message>),
    /// Looks for expired messages; there are none if they were consumed meanwhile.
    Expire(Name),
    /// Deletes a queue, unless it was used meanwhile.
    Delete(Name),
}

#[derive(Debug)]
struct Timed {
    due: Instant,
    sequence: u64,
    job: Job,
}

impl Schedule {
    /// Keeps a message until its time has come.
    ///
    /// # Errors
    /// Without a runtime nothing would ever deliver it.
    pub(crate) fn deliver_after(
        &mut self,
        delay: Duration,
        message: Arc<Message>,
    ) -> Result<(), TransportError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(errors::no_runtime());
        }
        // A delay beyond the calendar is kept, and never comes.
        self.delayed += 1;
        if let Some(due) = Instant::now().checked_add(delay) {
            self.add(due, Job::Deliver(message));
        }
        Ok(())
    }

    /// Looks after the messages of a queue that expire, unless that is done already.
    pub(crate) fn look_after(&mut self, queue: &mut Queue) {
        let Some(due) = queue.ready.next_expiry() else {
            return;
        };
        if queue.expiry_at.is_none_or(|scheduled| due < scheduled) {
            queue.expiry_at = Some(due);
            self.add(due, Job::Expire(Arc::clone(&queue.name)));
        }
    }

    /// Sees to it that an unused queue goes when it says so. One that is used meanwhile is looked at again then, so
    /// that consumers that come and go leave no trail of jobs.
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

    /// When the next job is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.jobs.peek().map(|timed| timed.due)
    }

    /// How many messages wait for their time.
    pub(crate) fn delayed(&self) -> usize {
        self.delayed
    }

    fn pop_due(&mut self, now: Instant) -> Option<Timed> {
        if self.next()? > now {
            return None;
        }
        self.jobs.pop()
    }
}

impl State {
    /// Does everything that is due.
    pub(crate) fn run_due(&mut self) {
        let Some(next) = self.schedule.next() else {
            return;
        };
        let now = Instant::now();
        if next > now {
            return;
        }
        while let Some(Timed { due, job, .. }) = self.schedule.pop_due(now) {
            match job {
                Job::Deliver(message) => {
                    self.schedule.delayed -= 1;
                    self.publish_due(&message);
                }
                Job::Expire(name) => {
                    self.change(&name, |queue, flow| {
                        // Another job took this one's place, or it belongs to an earlier queue of the name.
                        if queue.expiry_at == Some(due) {
                            queue.expiry_at = None;
                            queue.expire(flow);
                        }
                    });
                }
                Job::Delete(name) => self.delete_unused(&name, due),
            }
        }
    }

    fn delete_unused(&mut self, name: &str, due: Instant) {
        let queue = self.queues.get_mut(name);
        let Some(queue) = queue.filter(|queue| queue.deletion_at == Some(due)) else {
            return;
        };
        queue.deletion_at = None;
        match queue.unused_until() {
            Some(until) if until <= due => self.delete_queue(name),
            Some(_) => self.schedule.delete_if_unused(queue),
            // When its last consumer goes, this begins anew.
            None => {}
        }
    }
}

impl Ord for Timed {
    /// The earliest is the greatest, as the heap gives out the greatest.
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
