//! Messages that are held, deferred, or delivered once more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::disorder::Held;
use super::message::{Entry, Name, Turn};
use super::state::State;

impl State {
    /// Holds a message on its way into a queue, so that others overtake it.
    ///
    /// Gives it back where no order is to be changed. A held message counts as in flight. A queue
    /// of limited length takes its messages at once, as their sender waits for its answer.
    pub(super) fn hold(&mut self, held: Held) -> Result<(), Held> {
        let queue = self.queues.get(&held.queue);
        if queue.is_some_and(|queue| queue.settings.max_length.is_some()) {
            return Err(held);
        }
        let Some(due) = self.disorder.due() else {
            return Err(held);
        };
        self.flow.in_flight += 1;
        self.schedule.release_at(due, held);
        Ok(())
    }

    /// Puts a message that was held into its queue.
    pub(super) fn release(&mut self, held: Held) {
        self.flow.in_flight -= 1;
        self.put_in(held);
    }

    /// Delivers a message that was acknowledged once more, if that is wanted.
    pub(crate) fn repeat(&mut self, queue: &Name, acknowledged: Entry) {
        if !self.disorder.repeats || acknowledged.turn == Turn::Second {
            return;
        }
        let held = Held {
            queue: Arc::clone(queue),
            message: acknowledged.message,
            turn: Turn::Second,
        };
        if let Err(now) = self.hold(held) {
            self.put_in(now);
        }
    }

    /// Keeps a message away from its queue for a time.
    ///
    /// A time beyond the calendar, or without a clock, is none: the message is not lost.
    pub(crate) fn defer(&mut self, queue: &Name, entry: Entry, time: Duration) {
        let has_clock = tokio::runtime::Handle::try_current().is_ok();
        match Instant::now().checked_add(time).filter(|_| has_clock) {
            Some(due) => self.schedule.return_at(due, Arc::clone(queue), entry),
            None => {
                self.change(queue, |queue, flow| queue.take_back(entry, flow));
            }
        }
    }

    fn put_in(&mut self, held: Held) {
        let Held {
            queue,
            message,
            turn,
        } = held;
        let put = self.change(&queue, |queue, flow| queue.put(message, turn, flow));
        if let Some(Err(error)) = put {
            tracing::warn!(%error, "a message that was held, or repeated, is refused and dropped");
        }
    }
}
