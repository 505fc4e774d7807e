//! Choice of the deliveries of a channel that are acknowledged together.
//!
//! ```text
//!  tag        1   2   3   4   5   6   7
//!  settled    ×   ×       ×   ×       ×      3 and 6 are still handled
//!  sent       └─ up_to 2   └─ 4, 5, 7 one by one
//! ```

/// Settlements of one channel that are not sent to the broker yet.
///
/// An acknowledgement of many (`basic.ack` with `multiple`) takes in every delivery up to its tag,
/// so it must end below the lowest delivery that is still handled; those done above that one are
/// acknowledged one by one. The cost of a settlement depends on how many deliveries are handled at
/// once, never on how long one of them takes.
///
/// # Invariants
///
/// - A tag is sent once: RabbitMQ closes the channel of an unknown one (406,
///   `PRECONDITION_FAILED`).
/// - `settled` holds no two runs that touch, so it is as long as there are gaps.
/// - Tags begin with 1 on each channel and have no gaps (AMQP 0-9-1, delivery-tag).
#[derive(Debug, Default)]
pub(crate) struct AckWindow {
    /// Lowest tag that may be unsettled; everything below is settled.
    low: u64,
    /// Settled tags from there on, as ordered runs: `start..end`.
    settled: Vec<(u64, u64)>,
    /// Tags to be acknowledged.
    done: Vec<u64>,
    /// Highest tag that was handed out.
    highest: u64,
    requeue: Vec<u64>,
}

/// Settlements to send to the broker, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Tags that go back to the queue.
    pub(crate) requeue: Vec<u64>,
    /// Tag up to which everything is acknowledged.
    pub(crate) up_to: Option<u64>,
    /// Tags that are acknowledged one by one.
    pub(crate) single: Vec<u64>,
}

impl AckWindow {
    pub(crate) fn new() -> Self {
        Self {
            low: 1,
            ..Self::default()
        }
    }

    /// Notes that a delivery was handed out.
    pub(crate) fn handed_out(&mut self, tag: u64) {
        self.highest = self.highest.max(tag);
    }

    /// Settles a delivery as done; nothing happens if it is settled already.
    pub(crate) fn ack(&mut self, tag: u64) {
        if self.settle(tag) {
            self.done.push(tag);
        }
    }

    /// Settles a delivery as one that goes back; nothing happens if it is settled.
    pub(crate) fn requeue(&mut self, tag: u64) {
        if self.settle(tag) {
            self.requeue.push(tag);
        }
    }

    /// Notes that a tag is settled; returns `false` if it was before.
    fn settle(&mut self, tag: u64) -> bool {
        if tag < self.low {
            return false;
        }
        let next = self.settled.partition_point(|(start, _)| *start <= tag);
        let joins_next = (self.settled.get(next)).is_some_and(|(start, _)| *start == tag + 1);
        match next.checked_sub(1).map(|before| self.settled[before].1) {
            Some(end) if end > tag => return false,
            Some(end) if end == tag => {
                self.settled[next - 1].1 = tag + 1;
                if joins_next {
                    let (_, end) = self.settled.remove(next);
                    self.settled[next - 1].1 = end;
                }
            }
            _ if joins_next => self.settled[next].0 = tag,
            _ => self.settled.insert(next, (tag, tag + 1)),
        }
        true
    }

    /// Number of settlements that wait.
    pub(crate) fn pending(&self) -> usize {
        self.done.len() + self.requeue.len()
    }

    /// Tag below which everything is settled.
    pub(crate) fn settled_below(&self) -> u64 {
        match self.settled.first() {
            Some((start, end)) if *start == self.low => *end,
            _ => self.low,
        }
    }

    /// Returns `true` if everything that was handed out is settled.
    ///
    /// No further settlement can make the next batch larger then.
    pub(crate) fn is_idle(&self) -> bool {
        self.settled_below() > self.highest
    }

    /// Takes everything that can be sent to the broker now.
    pub(crate) fn take(&mut self) -> Batch {
        let below = self.settled_below();
        if below > self.low {
            self.low = below;
            self.settled.remove(0);
        }
        let mut single = std::mem::take(&mut self.done);
        let together = single.extract_if(.., |tag| *tag < below).max();
        single.sort_unstable();
        Batch {
            requeue: std::mem::take(&mut self.requeue),
            up_to: together,
            single,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy;

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
    fn what_goes_back_is_sent_before_what_is_acknowledged() {
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
    fn a_delivery_that_takes_long_costs_its_successors_nothing() {
        let mut window = AckWindow::new();
        window.handed_out(1);
        for tag in 2..200_000 {
            window.handed_out(tag);
            window.ack(tag);
            if tag % 8 == 0 {
                assert_eq!(window.take().single.len(), if tag == 8 { 7 } else { 8 });
                assert_eq!(window.settled.len(), 1, "one run, however long");
            }
        }
        window.ack(1);
        assert_eq!(window.take().up_to, Some(199_999));
    }

    proptest::proptest! {
        #[test]
        fn every_tag_is_sent_once_and_none_too_early(
            order in proptest::sample::subsequence((1..=40_u64).collect::<Vec<_>>(), 0..=40)
                .prop_shuffle(),
            every in 1_usize..5,
            requeued in proptest::bits::u64::ANY,
        ) {
            let mut window = window(40);
            let (mut acked, mut back) = (Vec::new(), Vec::new());
            let (mut settled, mut told) = (Vec::new(), Vec::new());
            for (count, tag) in order.iter().copied().enumerate() {
                if requeued & (1 << tag) == 0 {
                    window.ack(tag);
                    acked.push(tag);
                } else {
                    window.requeue(tag);
                    back.push(tag);
                }
                settled.push(tag);
                if count % every == 0 || count + 1 == order.len() {
                    let batch = window.take();
                    told.extend(batch.requeue.iter().copied());
                    let up_to = batch.up_to.unwrap_or_default();
                    let open = (1..=up_to).find(|tag| !settled.contains(tag));
                    proptest::prop_assert_eq!(open, None, "acknowledged while it is handled");
                    let together = (1..=up_to).filter(|tag| !told.contains(tag));
                    let together: Vec<_> = together.collect();
                    told.extend(together);
                    told.extend(batch.single);
                }
            }
            settled.sort_unstable();
            told.sort_unstable();
            proptest::prop_assert_eq!(told, settled);
        }
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
