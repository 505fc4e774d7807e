//! Concurrency slots of an endpoint.
//!
//! They limit the deliveries that run at once, beside those that only wait.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::partitions::{Partitions, Place};

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
    surplus: AtomicUsize,
    /// Deliveries that need a slot to go on, now or later, and have none.
    without: AtomicUsize,
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

/// Standing of a delivery among the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Has no slot, and goes on once it has one.
    Waiting,
    Holding,
    /// Lets others run, and will want a slot again.
    Aside,
    /// Needs no slot any more.
    Ended,
}

impl Stand {
    pub(super) fn is_busy(self) -> bool {
        matches!(self, Self::Waiting | Self::Holding)
    }

    pub(super) fn is_without(self) -> bool {
        matches!(self, Self::Waiting | Self::Aside)
    }
}

impl Slots {
    pub(crate) fn new(limit: usize, prefetch: u16, lanes: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            limit: AtomicUsize::new(limit),
            prefetch: AtomicUsize::new(prefetch.into()),
            free: Semaphore::new(limit),
            surplus: AtomicUsize::new(0),
            without: AtomicUsize::new(0),
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

    pub(super) fn partitions(&self) -> Option<&Arc<Partitions>> {
        self.partitions.as_ref()
    }

    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::SeqCst)
    }

    /// Sets the limits, from now on; deliveries that run go on.
    ///
    /// Called by one at a time.
    pub(crate) fn resize(&self, limit: usize, prefetch: u16) {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let before = self.limit.swap(limit, Ordering::SeqCst);
        // All that are too many count as held first: one that is put back meanwhile is not handed
        // out beyond the limit.
        let fewer = before.saturating_sub(limit);
        self.surplus.fetch_add(fewer, Ordering::SeqCst);
        self.put_back(self.free.forget_permits(fewer));
        self.put_back(limit.saturating_sub(before));
        self.prefetch.store(prefetch.into(), Ordering::SeqCst);
        self.wake_lanes();
    }

    /// Frees slots, as far as they are not held beyond the limit.
    fn put_back(&self, count: usize) {
        let mut freed = count;
        if self.surplus.load(Ordering::SeqCst) > 0 {
            let rest = |surplus: usize| Some(surplus.saturating_sub(count));
            let surplus = self
                .surplus
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, rest);
            freed = count.saturating_sub(surplus.unwrap_or_default());
        }
        if freed > 0 {
            self.free.add_permits(freed);
        }
    }

    /// `true` if the endpoint handles one delivery at a time.
    fn is_serial(&self) -> bool {
        self.limit() == 1
    }

    /// `true` if a delivery that waits keeps its slot, and so the order.
    ///
    /// Not beside another one that was pulled before the limit was lowered and needs the slot: the
    /// two might wait for each other.
    pub(super) fn keeps_order(&self, stand: Stand) -> bool {
        let others = self.without.load(Ordering::SeqCst) - usize::from(stand.is_without());
        self.is_serial() && others == 0
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
        let all = if self.partitions.is_some() && !self.is_serial() {
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

    /// Counts a delivery that a lane has pulled, with a slot if there is one already.
    ///
    /// There is none yet where messages have keys.
    pub(super) fn arrive(&self, lane: usize) -> Stand {
        self.lanes[lane].busy.fetch_add(1, Ordering::SeqCst);
        if self.partitions.is_none()
            && let Ok(permit) = self.free.try_acquire()
        {
            permit.forget();
            return Stand::Holding;
        }
        self.without.fetch_add(1, Ordering::SeqCst);
        Stand::Waiting
    }

    /// Waits for a slot, which the caller has to count as held at once.
    pub(super) async fn acquire(&self) {
        // It is never closed.
        let permit = self.free.acquire().await;
        let _ = permit.map(SemaphorePermit::forget);
    }

    /// Counts the step of a delivery of this lane.
    pub(super) fn step(&self, lane: usize, from: Stand, to: Stand) {
        let adjust = |count: &AtomicUsize, was: bool, is: bool| {
            if !was && is {
                count.fetch_add(1, Ordering::SeqCst);
            } else if was && !is {
                count.fetch_sub(1, Ordering::SeqCst);
            }
        };
        adjust(&self.without, from.is_without(), to.is_without());
        if from == Stand::Holding && to != Stand::Holding {
            self.put_back(1);
        }
        adjust(&self.lanes[lane].busy, from.is_busy(), to.is_busy());
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

    pub(super) fn wake_lane(&self, lane: usize) {
        self.lanes[lane].task.wake();
    }

    fn wake_lanes(&self) {
        self.lanes.iter().for_each(|lane| lane.task.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
