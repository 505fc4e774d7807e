//! Settings of a rate limit.

use std::time::Duration;

/// Time whose messages may come at once by default.
///
/// Timers are no finer than milliseconds.
const DEFAULT_BURST: Duration = Duration::from_millis(10);

/// Number of messages that an endpoint takes in a time.
///
/// For [`Policy::rate_limit`](crate::Policy::rate_limit). Messages are spread evenly over the time;
/// after a pause, as many as a [`burst`](Self::burst) come at once. In any span of time an endpoint
/// takes no more than a burst and what the rate allows for that span.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Endpoint, Policy, RateLimit};
///
/// // A partner that allows 600 calls a minute, and 20 of them at once.
/// let limit = RateLimit::new(600, Duration::from_secs(60)).burst(20);
/// let invoices = Endpoint::new("invoices").policy(Policy::new().rate_limit(limit));
/// # let _ = invoices;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "give it to a policy with .rate_limit(…)"]
pub struct RateLimit {
    count: u32,
    period: Duration,
    burst: Option<u32>,
}

impl RateLimit {
    /// Creates a limit of `count` messages in each `period`.
    ///
    /// Zero of either is a configuration mistake.
    pub fn new(count: u32, period: Duration) -> Self {
        Self {
            count,
            period,
            burst: None,
        }
    }

    /// Creates a limit of `count` messages a second.
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// Sets the number of messages that may come at once.
    ///
    /// Default: those of ten milliseconds, and at least 1. 0 is a configuration mistake.
    pub fn burst(mut self, count: u32) -> Self {
        self.burst = Some(count);
        self
    }

    /// Returns what is wrong with the limit.
    pub(crate) fn mistake(self) -> Option<&'static str> {
        if self.count == 0 || self.burst == Some(0) {
            Some("its rate limit lets no message through; use at least 1, or pause the endpoint")
        } else if self.period.is_zero() {
            Some("the period of its rate limit is zero; leave the limit out")
        } else {
            None
        }
    }

    /// Nanoseconds from one message to the next; 1 at least.
    pub(super) fn interval(self) -> u64 {
        let interval = self.period.as_nanos() / u128::from(self.count.max(1));
        u64::try_from(interval).unwrap_or(u64::MAX).max(1)
    }

    /// Nanoseconds by which messages may come too early.
    pub(super) fn slack(self) -> u64 {
        let interval = self.interval();
        let ten_millis = u64::try_from(DEFAULT_BURST.as_nanos()).unwrap_or(u64::MAX) / interval;
        let burst = self.burst.map_or(ten_millis, u64::from);
        burst.saturating_sub(1).saturating_mul(interval)
    }
}
