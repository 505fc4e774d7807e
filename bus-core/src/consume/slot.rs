//! The slot of one delivery, and its place in the line of its key.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::partitions::KeyPlace;
use super::slots::{Slots, Stand};

/// The place of one delivery among the slots.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    lane: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stand: Stand,
    /// `None` without a key, and while the delivery waits for it.
    key: Option<KeyPlace>,
}

impl Slot {
    /// Takes a slot for a delivery that a lane has pulled, if there is one already.
    ///
    /// There is none before [`begin`](Self::begin) where messages have keys.
    pub(crate) fn take(slots: &Arc<Slots>, lane: usize) -> Self {
        let stand = slots.arrive(lane);
        Self {
            slots: Arc::clone(slots),
            lane,
            state: Mutex::new(State { stand, key: None }),
        }
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Joins the messages of the same key; called in the order of arrival.
    pub(crate) fn join(&self, key: u64) {
        if let Some(partitions) = self.slots.partitions() {
            self.state().key = Some(partitions.join(key));
        }
    }

    /// Waits for earlier messages of the same key, then for a slot.
    ///
    /// Returns `false` if the lanes get no more deliveries before that.
    pub(crate) async fn begin(&self) -> bool {
        let key = {
            let mut state = self.state();
            if state.key.is_none() && state.stand == Stand::Holding {
                return true;
            }
            state.key.take()
        };
        let begun = async {
            if let Some(mut key) = key {
                key.is_first().await;
                self.state().key = Some(key);
            }
            self.enter().await;
        };
        tokio::select! {
            biased;
            () = self.slots.leaving() => false,
            () = begun => true,
        }
    }

    /// Lets another delivery run while this one waits, unless order is to be kept.
    ///
    /// [`enter`](Self::enter) takes a slot again. Messages of the same key go on waiting.
    pub(crate) fn step_aside(&self) {
        let mut state = self.state();
        if state.stand.is_busy() && !self.slots.keeps_order(state.stand) {
            self.step(&mut state, Stand::Aside);
            self.slots.wake_lane(self.lane);
        }
    }

    /// Lets another delivery run: the consumer of this one has ended.
    pub(crate) fn give_up(&self) {
        if self.free() {
            self.slots.wake_lane(self.lane);
        }
    }

    /// Takes a slot again, or keeps the one that it has.
    pub(crate) async fn enter(&self) {
        {
            let mut state = self.state();
            if state.stand == Stand::Holding {
                return;
            }
            if !state.stand.is_busy() {
                self.step(&mut state, Stand::Waiting);
                self.slots.wake_lane(self.lane);
            }
        }
        self.slots.acquire().await;
        self.step(&mut self.state(), Stand::Holding);
    }

    /// Frees slot and key at the end of a delivery; returns `true` if it was busy.
    ///
    /// The lane, which sees the end, need not be woken for it.
    pub(crate) fn free(&self) -> bool {
        let mut state = self.state();
        let was_busy = state.stand.is_busy();
        self.step(&mut state, Stand::Ended);
        drop(state.key.take());
        was_busy
    }

    fn step(&self, state: &mut State, to: Stand) {
        let from = mem::replace(&mut state.stand, to);
        self.slots.step(self.lane, from, to);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn slots(limit: usize) -> Arc<Slots> {
        Arc::new(Slots::new(limit, 100, 1))
    }

    fn take(slots: &Arc<Slots>) -> Slot {
        Slot::take(slots, 0)
    }

    fn has_room(slots: &Slots, lane: usize) -> bool {
        slots.room(lane).now_or_never().is_some()
    }

    fn begins(slot: &Slot) -> bool {
        slot.begin().now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_waiter_lets_another_run_and_goes_before_new_ones() {
        let slots = slots(2);
        let [first, second] = [take(&slots), take(&slots)];
        assert!(!has_room(&slots, 0));
        first.step_aside();
        assert!(has_room(&slots, 0));
        let third = take(&slots);
        let mut back = Box::pin(first.enter());
        assert!(back.as_mut().now_or_never().is_none(), "it is taken");
        second.free();
        let new = take(&slots);
        assert!(!begins(&new), "the one that waits goes first");
        back.await;
        drop(third);
        assert!(begins(&new));
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_holds_up_no_other() {
        let slots = slots(2);
        let [first, second] = [take(&slots), take(&slots)];
        let [third, fourth] = [take(&slots), take(&slots)];
        let mut leaves = Box::pin(third.begin());
        let mut stays = Box::pin(fourth.begin());
        assert!(leaves.as_mut().now_or_never().is_none());
        assert!(stays.as_mut().now_or_never().is_none());
        // The slot goes to the first of them, which is dropped.
        second.free();
        drop(leaves);
        assert!(stays.await);
        drop(first);
    }

    #[tokio::test]
    async fn the_lane_is_woken_when_a_delivery_steps_aside() {
        let slots = slots(2);
        let [one, _other] = [take(&slots), take(&slots)];
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.room(0).await }
        });
        tokio::task::yield_now().await;
        one.step_aside();
        assert!(waiting.await.unwrap());
    }

    #[test]
    fn where_order_is_kept_no_delivery_steps_aside() {
        let slots = slots(1);
        let only = take(&slots);
        only.step_aside();
        assert!(!has_room(&slots, 0));
        only.give_up();
        only.give_up();
        assert!(has_room(&slots, 0));
    }

    #[test]
    fn a_lower_limit_holds_for_new_deliveries_of_all_lanes() {
        let slots = Arc::new(Slots::new(4, 100, 2));
        let mut running: Vec<_> = [0, 1, 0, 1].map(|lane| Slot::take(&slots, lane)).into();
        slots.resize(1, 100);
        assert!(!has_room(&slots, 0) && !has_room(&slots, 1));
        let pulled = take(&slots);
        while !running.is_empty() {
            assert!(!begins(&pulled), "{} still run", running.len());
            running.pop();
        }
        assert!(begins(&pulled));
        let next = take(&slots);
        assert!(!begins(&next));
        slots.resize(2, 100);
        assert!(begins(&next), "it was raised again");
    }

    #[test]
    fn deliveries_from_before_a_lower_limit_do_not_wait_for_each_other() {
        let slots = slots(2);
        let [aside, waits] = [take(&slots), take(&slots)];
        aside.step_aside();
        slots.resize(1, 100);
        waits.step_aside();
        assert_eq!(aside.enter().now_or_never(), Some(()), "the slot is free");
        drop(aside);
        assert_eq!(waits.enter().now_or_never(), Some(()));
        waits.step_aside();
        assert!(!has_room(&slots, 0), "the order is kept again");
    }

    #[test]
    fn a_limit_that_is_raised_again_counts_what_still_runs() {
        let slots = slots(3);
        let running = [0; 3].map(|lane| Slot::take(&slots, lane));
        slots.resize(1, 100);
        slots.resize(3, 100);
        assert!(!begins(&take(&slots)), "three still run");
        drop(running);
        let again = [0; 3].map(|lane| Slot::take(&slots, lane));
        assert!(again.iter().all(begins) && !begins(&take(&slots)));
    }

    #[test]
    fn one_that_waits_for_its_key_holds_no_slot() {
        let slots = Arc::new(Slots::new(2, 100, 1).partitioned());
        let [first, second, other] = [0; 3].map(|lane| Slot::take(&slots, lane));
        first.join(7);
        second.join(7);
        other.join(8);
        assert!(begins(&first) && !begins(&second) && begins(&other));
        assert!(has_room(&slots, 0), "as far as the prefetch goes");
    }

    #[test]
    fn one_that_has_not_begun_goes_back_when_the_lanes_leave() {
        let slots = slots(1);
        let [running, waiting] = [take(&slots), take(&slots)];
        assert_eq!(waiting.begin().now_or_never(), None);
        slots.leave();
        assert_eq!(waiting.begin().now_or_never(), Some(false));
        assert_eq!(running.begin().now_or_never(), Some(true));
        assert_eq!(slots.room(0).now_or_never(), Some(false));
    }
}
