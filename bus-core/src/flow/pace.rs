//! The pace at which the lanes of an endpoint pull messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::rate_limit::RateLimit;

/// Longest wait, so that an instant can be computed: longer than any process lives.
const LONGEST: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// The pace of an endpoint, which its lanes share.
///
/// A message is due an interval after the one before, and may come earlier by the slack (the
/// generic cell rate algorithm). Without a limit it costs one load of a number.
#[derive(Debug)]
pub(crate) struct Pace {
    begin: Instant,
    /// Nanoseconds between two messages; 0 without a limit.
    interval: AtomicU64,
    /// Nanoseconds by which a message may come too early.
    slack: AtomicU64,
    /// Nanoseconds from the begin at which the next message is due.
    due: AtomicU64,
    changed: Notify,
}

impl Pace {
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        Self {
            begin: Instant::now(),
            interval: AtomicU64::new(limit.map_or(0, RateLimit::interval)),
            slack: AtomicU64::new(limit.map_or(0, RateLimit::slack)),
            due: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Changes the limit, also for lanes that wait.
    pub(crate) fn set(&self, limit: Option<RateLimit>) {
        let slack = limit.map_or(0, RateLimit::slack);
        self.slack.store(slack, Ordering::SeqCst);
        let interval = limit.map_or(0, RateLimit::interval);
        self.interval.store(interval, Ordering::SeqCst);
        // A slower limit of before must not hold up the first message of the new one.
        self.due
            .fetch_min(self.now().saturating_add(slack), Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.interval.load(Ordering::Relaxed) > 0
    }

    /// Waits until a message may be pulled; others may do so meanwhile.
    pub(crate) async fn ready(&self) {
        loop {
            // Created before looking: a change in between is not missed.
            let changed = self.changed.notified();
            let Some(wait) = self.wait() else { return };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }

    /// Polls for a message, if one may be pulled now; `None` if it is too early.
    ///
    /// An absent message does not count.
    pub(crate) fn pull<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<Option<T>> {
        let interval = self.interval.load(Ordering::Relaxed);
        if interval == 0 {
            return poll().map(Some);
        }
        if !self.take(interval) {
            return Poll::Ready(None);
        }
        let polled = poll().map(Some);
        if polled.is_pending() {
            self.put_back(interval);
        }
        polled
    }

    /// Counts a message; returns `false` if it is too early.
    fn take(&self, interval: u64) -> bool {
        let now = self.now();
        let latest = now.saturating_add(self.slack.load(Ordering::Relaxed));
        let next = |due: u64| (due <= latest).then(|| due.max(now).saturating_add(interval));
        self.due
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next)
            .is_ok()
    }

    /// Takes back a message that was counted.
    ///
    /// A change meanwhile may have brought its time forward.
    fn put_back(&self, interval: u64) {
        let before = |due: u64| Some(due.saturating_sub(interval));
        // It always has a value.
        let _ = self
            .due
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, before);
    }

    /// Returns the time after which a message may be pulled; `None` if it may be now.
    fn wait(&self) -> Option<Duration> {
        let slack = self.slack.load(Ordering::SeqCst);
        let due = self.due.load(Ordering::SeqCst).saturating_sub(slack);
        let early = due.saturating_sub(self.now());
        (early > 0 && self.is_limited()).then(|| Duration::from_nanos(early).min(LONGEST))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pulls(pace: &Pace) -> bool {
        pace.pull(|| Poll::Ready(())) == Poll::Ready(Some(()))
    }

    /// Pulls so many messages; returns the time that this took.
    async fn take(pace: &Pace, count: u32) -> Duration {
        let begin = Instant::now();
        for _ in 0..count {
            while !pulls(pace) {
                pace.ready().await;
            }
        }
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_spread_over_the_time() {
        let pace = Pace::new(Some(RateLimit::per_second(10)));
        let taken = take(&pace, 101).await;
        assert!(taken >= 10 * SECOND && taken < 11 * SECOND, "{taken:?}");
        tokio::time::advance(SECOND).await;
        assert!(pulls(&pace) && !pulls(&pace), "no burst by default");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_comes_at_once_after_a_pause_and_no_more() {
        let pace = Pace::new(Some(RateLimit::per_second(10).burst(5)));
        for _ in 0..2 {
            assert_eq!((0..9).filter(|_| pulls(&pace)).count(), 5);
            tokio::time::advance(60 * SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_high_rate_is_reached_though_timers_are_coarse() {
        let pace = Pace::new(Some(RateLimit::per_second(20_000)));
        let taken = take(&pace, 20_000).await;
        assert!(
            taken > SECOND / 10 * 9 && taken < SECOND / 10 * 11,
            "{taken:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_not_there_does_not_count() {
        let pace = Pace::new(Some(RateLimit::per_second(1)));
        for _ in 0..3 {
            assert_eq!(pace.pull(|| Poll::<()>::Pending), Poll::Pending);
        }
        assert!(pulls(&pace) && !pulls(&pace));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_holds_for_those_that_wait() {
        let pace = Pace::new(Some(RateLimit::new(1, 3_600 * SECOND)));
        assert!(pulls(&pace));
        for limit in [Some(RateLimit::per_second(10)), None] {
            let begin = Instant::now();
            let ((), taken) = tokio::join!(async { pace.set(limit) }, take(&pace, 5));
            assert!(taken < SECOND, "{limit:?}: {taken:?} since {begin:?}");
        }
        assert!(!pace.is_limited());
    }
}
