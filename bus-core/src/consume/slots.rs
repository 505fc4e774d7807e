//! Concurrency slots of a lane.
//!
//! They limit the deliveries that run at once, beside those that only wait.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, watch};

/// The slots of one lane.
#[derive(Debug)]
pub(crate) struct Slots {
    room: usize,
    /// `true` if the endpoint handles one delivery at a time.
    ///
    /// A delivery that waits for its turn keeps its slot then, and so the order.
    ordered: bool,
    taken: AtomicUsize,
    /// Number of deliveries that stepped aside and want a slot again.
    ///
    /// They go before new ones.
    returning: AtomicUsize,
    freed: Notify,
    lane: AtomicWaker,
    leaving: watch::Sender<bool>,
}

/// The place of one delivery among the slots.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    held: AtomicBool,
}

impl Slots {
    pub(crate) fn new(room: usize, ordered: bool) -> Arc<Self> {
        Arc::new(Self {
            room,
            ordered,
            taken: AtomicUsize::new(0),
            returning: AtomicUsize::new(0),
            freed: Notify::new(),
            lane: AtomicWaker::new(),
            leaving: watch::Sender::new(false),
        })
    }

    /// Waits until a new delivery may run.
    pub(crate) async fn room(&self) {
        poll_fn(|cx| {
            if self.has_room() {
                return Poll::Ready(());
            }
            self.lane.register(cx.waker());
            if self.has_room() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn has_room(&self) -> bool {
        self.taken.load(Ordering::SeqCst) + self.returning.load(Ordering::SeqCst) < self.room
    }

    /// Takes a slot for a new delivery, after [`room`](Self::room).
    ///
    /// Only the lane itself calls it.
    pub(crate) fn take(self: &Arc<Self>) -> Slot {
        self.taken.fetch_add(1, Ordering::SeqCst);
        Slot {
            slots: Arc::clone(self),
            held: AtomicBool::new(true),
        }
    }

    fn try_take(&self) -> bool {
        let one_more = |taken| (taken < self.room).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    /// Notes that the lane gets no more deliveries.
    pub(crate) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Waits until the lane gets no more deliveries: those that it has should end.
    pub(crate) async fn leaving(&self) {
        let mut leaving = self.leaving.subscribe();
        // The sender lives as long as `self`.
        let _ = leaving.wait_for(|leaving| *leaving).await;
    }
}

impl Slot {
    /// Lets another delivery run while this one waits, unless order is to be kept.
    ///
    /// [`enter`](Self::enter) takes a slot again.
    pub(crate) fn step_aside(&self) {
        if !self.slots.ordered {
            self.give_up();
        }
    }

    /// Lets another delivery run: the consumer of this one has ended.
    pub(crate) fn give_up(&self) {
        if self.free() {
            self.slots.lane.wake();
        }
    }

    /// Takes a slot again, or keeps the one that it has.
    pub(crate) async fn enter(&self) {
        if self.held.load(Ordering::SeqCst) {
            return;
        }
        let _returning = Returning::new(&self.slots);
        loop {
            // Created before looking: what is freed in between is not missed.
            let freed = self.slots.freed.notified();
            if self.slots.try_take() {
                self.held.store(true, Ordering::SeqCst);
                return;
            }
            freed.await;
        }
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Frees the slot at the end of a delivery; returns `true` if it was held.
    ///
    /// The lane, which sees the end, need not be woken for it.
    pub(crate) fn free(&self) -> bool {
        let held = self.held.swap(false, Ordering::SeqCst);
        if held {
            self.slots.taken.fetch_sub(1, Ordering::SeqCst);
            if self.slots.returning.load(Ordering::SeqCst) > 0 {
                self.slots.freed.notify_one();
            }
        }
        held
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free();
    }
}

/// A delivery that wants a slot again; counted out also when its future is dropped.
struct Returning<'a>(&'a Slots);

impl<'a> Returning<'a> {
    fn new(slots: &'a Slots) -> Self {
        slots.returning.fetch_add(1, Ordering::SeqCst);
        Self(slots)
    }
}

impl Drop for Returning<'_> {
    fn drop(&mut self) {
        self.0.returning.fetch_sub(1, Ordering::SeqCst);
        self.0.lane.wake();
        // A waiter that was woken but is dropped passes the notification on.
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn has_room(slots: &Slots) -> bool {
        slots.room().now_or_never().is_some()
    }

    #[tokio::test]
    async fn who_waits_lets_another_one_run_and_goes_before_new_ones() {
        let slots = Slots::new(1, false);
        let first = slots.take();
        assert!(!has_room(&slots));
        first.step_aside();
        assert!(has_room(&slots));
        let second = slots.take();
        let mut back = Box::pin(first.enter());
        assert!(back.as_mut().now_or_never().is_none(), "it is taken");
        second.free();
        assert!(!has_room(&slots), "the one that waits goes first");
        back.await;
        drop(first);
        assert!(has_room(&slots));
    }

    #[tokio::test]
    async fn who_no_longer_wants_a_slot_stands_in_nobody_s_way() {
        let slots = Slots::new(1, false);
        let first = slots.take();
        first.step_aside();
        let second = slots.take();
        let third = slots.take();
        third.step_aside();
        let mut leaves = Box::pin(first.enter());
        let mut stays = Box::pin(third.enter());
        assert!(leaves.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        // The news goes to the first of them, which is dropped.
        second.free();
        drop(leaves);
        stays.await;
    }

    #[tokio::test]
    async fn the_lane_is_woken_when_somebody_steps_aside() {
        let slots = Slots::new(1, false);
        let only = slots.take();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.room().await }
        });
        tokio::task::yield_now().await;
        only.step_aside();
        waiting.await.unwrap();
    }

    #[test]
    fn where_order_is_kept_nobody_steps_aside() {
        let slots = Slots::new(1, true);
        let only = slots.take();
        only.step_aside();
        assert!(!has_room(&slots));
        only.give_up();
        only.give_up();
        assert!(has_room(&slots));
    }
}
