//! Concurrency slots of an endpoint.
//!
//! They limit the deliveries that run at once, beside those that only wait.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::partitions::{KeyPlace, Partitions, Place};

/// The slots of an endpoint, which its lanes share.
///
/// A lane pulls as many deliveries as its share allows, so that messages spread over the lanes. The
/// limit itself holds over all of them, also while it changes.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: AtomicUsize,
    prefetch: AtomicUsize,
    /// Slots that are free; who waits for one goes before new deliveries.
    free: Semaphore,
    /// Slots held beyond the limit, which end with their deliveries.
    surplus: Mutex<usize>,
    lanes: Vec<Lane>,
    is_leaving: AtomicBool,
    left: Notify,
    /// `None` if the messages of the endpoint have no keys.
    partitions: Option<Arc<Partitions>>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Deliveries of the lane that hold a slot or want one.
    busy: AtomicUsize,
    task: AtomicWaker,
}

/// The place of one delivery among the slots.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    lane: usize,
    is_busy: AtomicBool,
    is_held: AtomicBool,
    key: Mutex<Option<KeyPlace>>,
}

impl Slots {
    pub(crate) fn new(limit: usize, prefetch: u16, lanes: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            limit: AtomicUsize::new(limit),
            prefetch: AtomicUsize::new(prefetch.into()),
            free: Semaphore::new(limit),
            surplus: Mutex::default(),
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            is_leaving: AtomicBool::new(false),
            left: Notify::new(),
            partitions: None,
        }
    }

    /// Lets messages of one key go one after the other.
    pub(crate) fn partitioned(self) -> Self {
        Self {
            partitions: Some(Arc::default()),
            ..self
        }
    }

    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::SeqCst)
    }

    /// Sets the limits, from now on; deliveries that run go on.
    pub(crate) fn resize(&self, limit: usize, prefetch: u16) {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let mut surplus = self.surplus();
        let before = self.limit.swap(limit, Ordering::SeqCst);
        let fewer = before.saturating_sub(limit);
        *surplus += fewer - self.free.forget_permits(fewer);
        let more = limit.saturating_sub(before);
        let kept = more.min(*surplus);
        *surplus -= kept;
        self.free.add_permits(more - kept);
        drop(surplus);
        self.prefetch.store(prefetch.into(), Ordering::SeqCst);
        self.wake_lanes();
    }

    /// `true` if the endpoint handles one delivery at a time.
    ///
    /// A delivery that waits for its turn keeps its slot then, and so the order.
    fn is_ordered(&self) -> bool {
        self.limit() == 1
    }

    /// Waits until a lane may pull a delivery; `false` if it gets no more.
    pub(crate) async fn room(&self, lane: usize) -> bool {
        let look = || {
            let room = || self.has_room(lane).then_some(true);
            self.is_leaving().then_some(false).or_else(room)
        };
        poll_fn(|cx| {
            if let Some(goes_on) = look() {
                return Poll::Ready(goes_on);
            }
            self.lanes[lane].task.register(cx.waker());
            look().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Waits until a lane may pull no delivery any more.
    pub(crate) async fn no_room(&self, lane: usize) {
        poll_fn(|cx| {
            self.lanes[lane].task.register(cx.waker());
            if self.has_room(lane) && !self.is_leaving() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    fn has_room(&self, lane: usize) -> bool {
        self.lanes[lane].busy.load(Ordering::SeqCst) < self.share(lane)
    }

    /// Number of deliveries that a lane may have beside those that only wait.
    ///
    /// A message that waits for its key must not keep others from being pulled.
    fn share(&self, lane: usize) -> usize {
        let all = if self.partitions.is_some() && !self.is_ordered() {
            self.prefetch.load(Ordering::SeqCst)
        } else {
            self.limit()
        };
        let lanes = self.lanes.len();
        all / lanes + usize::from(lane < all % lanes)
    }

    /// Polls for a message, whose place in the order of arrival is returned with it.
    pub(crate) fn pull<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<(T, Option<Place>)> {
        match &self.partitions {
            None => poll().map(|pulled| (pulled, None)),
            Some(partitions) => partitions
                .pull(poll)
                .map(|(pulled, place)| (pulled, Some(place))),
        }
    }

    /// Takes a slot for a delivery that a lane has pulled, if there is one already.
    ///
    /// There is none before [`Slot::begin`] where messages have keys.
    pub(crate) fn take(self: &Arc<Self>, lane: usize) -> Slot {
        self.lanes[lane].busy.fetch_add(1, Ordering::SeqCst);
        let is_held = self.partitions.is_none() && self.try_take();
        Slot {
            lane,
            is_busy: AtomicBool::new(true),
            is_held: AtomicBool::new(is_held),
            key: Mutex::default(),
            slots: Arc::clone(self),
        }
    }

    fn try_take(&self) -> bool {
        let permit = self.free.try_acquire();
        permit.map(SemaphorePermit::forget).is_ok()
    }

    fn put_back(&self) {
        let mut surplus = self.surplus();
        if *surplus > 0 {
            *surplus -= 1;
        } else {
            self.free.add_permits(1);
        }
    }

    fn surplus(&self) -> MutexGuard<'_, usize> {
        self.surplus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the lanes get deliveries from now on.
    pub(crate) fn open(&self) {
        self.is_leaving.store(false, Ordering::SeqCst);
    }

    /// Notes that the lanes get no more deliveries.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::SeqCst);
        self.left.notify_waiters();
        self.wake_lanes();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// Waits until the lanes get no more deliveries: those that they have should end.
    pub(crate) async fn leaving(&self) {
        loop {
            // Created before looking: a leave in between is not missed.
            let left = self.left.notified();
            if self.is_leaving() {
                return;
            }
            left.await;
        }
    }

    fn wake_lanes(&self) {
        self.lanes.iter().for_each(|lane| lane.task.wake());
    }
}

impl Slot {
    /// Joins the messages of the same key; called in the order of arrival.
    pub(crate) fn join(&self, key: u64) {
        if let Some(partitions) = &self.slots.partitions {
            *self.key() = Some(partitions.join(key));
        }
    }

    /// Waits for earlier messages of the same key, then for a slot.
    ///
    /// Returns `false` if the lanes get no more deliveries before that.
    pub(crate) async fn begin(&self) -> bool {
        let key = self.key().take();
        if key.is_none() && self.is_held.load(Ordering::SeqCst) {
            return true;
        }
        let begun = async {
            if let Some(mut key) = key {
                key.is_first().await;
                *self.key() = Some(key);
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
        if !self.slots.is_ordered() && self.free_slot() {
            self.wake_lane();
        }
    }

    /// Lets another delivery run: the consumer of this one has ended.
    pub(crate) fn give_up(&self) {
        if self.free() {
            self.wake_lane();
        }
    }

    /// Takes a slot again, or keeps the one that it has.
    pub(crate) async fn enter(&self) {
        if self.is_held.load(Ordering::SeqCst) {
            return;
        }
        if !self.is_busy.swap(true, Ordering::SeqCst) {
            self.lane().busy.fetch_add(1, Ordering::SeqCst);
            self.wake_lane();
        }
        // It is never closed.
        if let Ok(permit) = self.slots.free.acquire().await {
            permit.forget();
            self.is_held.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    /// Frees slot and key at the end of a delivery; returns `true` if there was a slot.
    ///
    /// The lane, which sees the end, need not be woken for it.
    pub(crate) fn free(&self) -> bool {
        let freed = self.free_slot();
        drop(self.key().take());
        freed
    }

    fn free_slot(&self) -> bool {
        if self.is_held.swap(false, Ordering::SeqCst) {
            self.slots.put_back();
        }
        let was_busy = self.is_busy.swap(false, Ordering::SeqCst);
        if was_busy {
            self.lane().busy.fetch_sub(1, Ordering::SeqCst);
        }
        was_busy
    }

    fn lane(&self) -> &Lane {
        &self.slots.lanes[self.lane]
    }

    fn wake_lane(&self) {
        self.lane().task.wake();
    }

    fn key(&self) -> MutexGuard<'_, Option<KeyPlace>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn has_room(slots: &Slots, lane: usize) -> bool {
        slots.room(lane).now_or_never().is_some()
    }

    fn begins(slot: &Slot) -> bool {
        slot.begin().now_or_never().is_some()
    }

    #[tokio::test]
    async fn who_waits_lets_another_one_run_and_goes_before_new_ones() {
        let slots = slots(2);
        let [first, second] = [slots.take(0), slots.take(0)];
        assert!(!has_room(&slots, 0));
        first.step_aside();
        assert!(has_room(&slots, 0));
        let third = slots.take(0);
        let mut back = Box::pin(first.enter());
        assert!(back.as_mut().now_or_never().is_none(), "it is taken");
        second.free();
        let new = slots.take(0);
        assert!(!begins(&new), "the one that waits goes first");
        back.await;
        drop(third);
        assert!(begins(&new));
    }

    #[tokio::test]
    async fn who_no_longer_wants_a_slot_stands_in_nobody_s_way() {
        let slots = slots(2);
        let [first, second] = [slots.take(0), slots.take(0)];
        let [third, fourth] = [slots.take(0), slots.take(0)];
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
        let [one, _other] = [slots.take(0), slots.take(0)];
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
        let only = slots.take(0);
        only.step_aside();
        assert!(!has_room(&slots, 0));
        only.give_up();
        only.give_up();
        assert!(has_room(&slots, 0));
    }

    #[test]
    fn the_lanes_share_the_limit() {
        for (limit, lanes, expected) in [
            (1, 4, vec![1, 0, 0, 0]),
            (16, 2, vec![8, 8]),
            (5, 2, vec![3, 2]),
        ] {
            let slots = Slots::new(limit, 100, lanes);
            let shares: Vec<_> = (0..lanes).map(|lane| slots.share(lane)).collect();
            assert_eq!(shares, expected);
        }
    }

    #[test]
    fn a_lower_limit_holds_for_new_deliveries_of_all_lanes() {
        let slots = Arc::new(Slots::new(4, 100, 2));
        let mut running: Vec<_> = [0, 1, 0, 1].map(|lane| slots.take(lane)).into();
        slots.resize(1, 100);
        assert!(!has_room(&slots, 0) && !has_room(&slots, 1));
        let pulled = slots.take(0);
        while !running.is_empty() {
            assert!(!begins(&pulled), "{} still run", running.len());
            running.pop();
        }
        assert!(begins(&pulled));
        let next = slots.take(0);
        assert!(!begins(&next));
        slots.resize(2, 100);
        assert!(begins(&next), "it was raised again");
    }

    #[test]
    fn a_limit_that_is_raised_again_counts_what_still_runs() {
        let slots = slots(3);
        let running = [0; 3].map(|lane| slots.take(lane));
        slots.resize(1, 100);
        slots.resize(3, 100);
        assert!(!begins(&slots.take(0)), "three still run");
        drop(running);
        let again = [0; 3].map(|lane| slots.take(lane));
        assert!(again.iter().all(begins) && !begins(&slots.take(0)));
    }

    #[test]
    fn one_that_waits_for_its_key_holds_no_slot() {
        let slots = Arc::new(Slots::new(2, 100, 1).partitioned());
        let [first, second, other] = [0; 3].map(|lane| slots.take(lane));
        first.join(7);
        second.join(7);
        other.join(8);
        assert!(begins(&first) && !begins(&second) && begins(&other));
        assert!(has_room(&slots, 0), "as far as the prefetch goes");
    }

    #[test]
    fn one_that_has_not_begun_goes_back_when_the_lanes_leave() {
        let slots = slots(1);
        let [running, waiting] = [slots.take(0), slots.take(0)];
        assert_eq!(waiting.begin().now_or_never(), None);
        slots.leave();
        assert_eq!(waiting.begin().now_or_never(), Some(false));
        assert_eq!(running.begin().now_or_never(), Some(true));
        assert_eq!(slots.room(0).now_or_never(), Some(false));
    }
}
