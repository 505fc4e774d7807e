//! Which deliveries of a channel can be acknowledged together.

use std::collections::VecDeque;

/// What became of a delivery, as far as the broker was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Still handled, or not pulled yet.
    Open,
    /// To be acknowledged.
    Done,
    /// The broker was told.
    Told,
}

/// The settlements of one channel that the broker is not told yet.
///
/// An acknowledgement of many takes in every delivery up to its tag, so it must end below the lowest delivery that is
/// still handled; those done above that one are acknowledged one by one.
#[derive(Debug, Default)]
pub(crate) struct AckWindow {
    /// The tag of the first mark.
    low: u64,
    marks: VecDeque<Mark>,
    /// How many marks are `Done`.
    done: usize,
    /// The highest tag that was handed out.
    highest: u64,
    requeue: Vec<u64>,
}

/// What to tell the broker, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Back to the queue.
    pub(crate) requeue: Vec<u64>,
    /// Everything up to this tag.
    pub(crate) up_to: Option<u64>,
    /// One by one.
    pub(crate) single: Vec<u64>,
}

impl AckWindow {
    pub(crate) fn new() -> Self {
        Self {
            low: 1,
            ..Self::default()
        }
    }

    /// A delivery was handed out.
    pub(crate) fn handed_out(&mut self, tag: u64) {
        self.highest = self.highest.max(tag);
    }

    pub(crate) fn ack(&mut self, tag: u64) {
        if self.set(tag, Mark::Done) {
            self.done += 1;
        }
    }

    pub(crate) fn requeue(&mut self, tag: u64) {
        if self.set(tag, Mark::Told) {
            self.requeue.push(tag);
        }
    }

    fn set(&mut self, tag: u64, mark: Mark) -> bool {
        let Some(index) = tag
            .checked_sub(self.low)
            .and_then(|index| usize::try_from(index).ok())
        else {
            return false;
        };
        if self.marks.len() <= index {
            self.marks.resize(index + 1, Mark::Open);
        }
        let open = self.marks[index] == Mark::Open;
        if open {
            self.marks[index] = mark;
        }
        open
    }

    /// How many settlements wait.
    pub(crate) fn pending(&self) -> usize {
        self.done + self.requeue.len()
    }

    /// Whether everything that was handed out is settled: nobody will make the next batch larger.
    pub(crate) fn is_idle(&self) -> bool {
        let settled = self
            .marks
            .iter()
            .take_while(|mark| **mark != Mark::Open)
            .count();
        self.low + settled as u64 > self.highest
    }

    /// Takes everything that can be told now.
    pub(crate) fn take(&mut self) -> Batch {
        let mut batch = Batch {
            requeue: std::mem::take(&mut self.requeue),
            ..Batch::default()
        };
        let mut last_done = None;
        let mut acknowledged = 0;
        while let Some(mark) = self.marks.front().filter(|mark| **mark != Mark::Open) {
            if *mark == Mark::Done {
                last_done = Some(self.low);
                acknowledged += 1;
            }
            self.marks.pop_front();
            self.low += 1;
        }
        batch.up_to = last_done;
        self.done -= acknowledged;
        if self.done > 0 {
            for (tag, mark) in (self.low..).zip(self.marks.iter_mut()) {
                if *mark == Mark::Done {
                    *mark = Mark::Told;
                    batch.single.push(tag);
                }
            }
            self.done = 0;
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(highest: u64) -> AckWindow {
        let mut window = AckWindow::new();
        window.handed_out(highest);
        window
    }

    #[test]
    fn a_row_without_gaps_is_one_acknowledgement() {
        let mut window = window(3);
        for tag in [2, 1, 3] {
            assert!(!window.is_idle());
            window.ack(tag);
        }
        assert!(window.is_idle());
        let batch = window.take();
        assert_eq!((batch.up_to, batch.single), (Some(3), vec![]));
        assert_eq!(window.pending(), 0);
        assert_eq!(window.take(), Batch::default());
    }

    #[test]
    fn a_delivery_that_is_still_handled_is_never_taken_in() {
        let mut window = window(5);
        for tag in [1, 3, 4, 5] {
            window.ack(tag);
        }
        let batch = window.take();
        assert_eq!((batch.up_to, batch.single), (Some(1), vec![3, 4, 5]));
        window.ack(2);
        let batch = window.take();
        assert_eq!((batch.up_to, batch.single), (Some(2), vec![]));
        window.handed_out(6);
        window.ack(6);
        assert_eq!(window.take().up_to, Some(6));
    }

    #[test]
    fn what_goes_back_is_told_before_what_is_acknowledged() {
        let mut window = window(3);
        window.requeue(2);
        window.ack(1);
        window.ack(3);
        assert_eq!(window.pending(), 3);
        let batch = window.take();
        assert_eq!(batch.requeue, [2]);
        assert_eq!(batch.up_to, Some(3));
    }

    #[test]
    fn a_row_that_only_goes_back_needs_no_acknowledgement() {
        let mut window = window(2);
        window.requeue(1);
        window.requeue(2);
        assert_eq!(window.take().up_to, None);
        assert!(window.is_idle());
    }

    #[test]
    fn a_tag_is_settled_once() {
        let mut window = window(1);
        window.ack(1);
        window.requeue(1);
        window.ack(1);
        assert_eq!(window.pending(), 1);
        window.take();
        window.ack(1);
        window.ack(0);
        assert_eq!(window.pending(), 0);
    }
}
