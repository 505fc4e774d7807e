//! Execution of scheduled jobs.

use tokio::time::Instant;

use super::schedule::{Job, Timed};
use super::state::State;

impl State {
    /// Runs every job that is due.
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
                Job::Deliver(message, _) => self.publish_due(&message),
                Job::Release(held) => self.release(held),
                Job::Return(queue, entry) => {
                    self.change(&queue, |queue, flow| queue.take_back(entry, flow));
                }
                Job::Expire(name) => {
                    self.change(&name, |queue, flow| {
                        // Another job took this one's place, or it belongs to an earlier queue of
                        // the name.
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
