//! Redeliveries of failed messages: waits at the broker, limits and filters.

use std::time::Duration;

use super::delays::{Delays, Jitter};
use super::filters::Filters;
use crate::error::{ConsumeError, FailureKind};

/// Policy by which a failed message comes again later, after its retries.
///
/// The message waits at the broker, and holds neither a concurrency slot nor the messages behind
/// it: those overtake it. It comes as a copy with the same id to the same queue, with the number of
/// its redeliveries in the header `MT-Redelivery-Count`, as with MassTransit. That number is the
/// message's own, so that a limit holds for all instances together: a message has at most
/// (1 + retries) · (1 + redeliveries) attempts. No fault is published before the last of them.
///
/// The same errors are eligible as for a [`Retry`](crate::Retry): not permanent ones, nor panics.
/// What the attempt has sent is thrown away, and an idempotency key is free again. A process that
/// ends between the copy and the acknowledgement leaves two copies with one id, which an idempotent
/// endpoint handles once.
///
/// The transport must claim [`DelayedDelivery`](crate::transport::Capability::DelayedDelivery); a
/// wait is rounded up to what it can: whole seconds on RabbitMQ.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Endpoint, Policy, Redelivery, Retry};
///
/// let patient = Policy::new()
///     .retry(Retry::exponential(3, Duration::from_millis(100), Duration::from_secs(1)))
///     .redelivery(Redelivery::intervals([10, 30, 120, 600, 3600].map(Duration::from_secs)));
/// let invoices = Endpoint::new("invoices").policy(patient);
/// # let _ = invoices;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Redelivery {
    delays: Delays,
    filters: Filters,
}

impl Redelivery {
    /// Redelivers nothing: what fails its last retry has failed for good.
    pub fn none() -> Self {
        Self::of(Delays::none())
    }

    /// Redelivers `limit` times, each time after the same wait.
    pub fn interval(limit: u32, wait: Duration) -> Self {
        Self::of(Delays::repeated(limit, wait))
    }

    /// Redelivers once after each of these waits, in order.
    ///
    /// No waits at all are a configuration mistake; see [`none`](Self::none).
    pub fn intervals(waits: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(Delays::fixed(waits))
    }

    /// Redelivers `limit` times: first after `first`, then after `step` more each time.
    pub fn incremental(limit: u32, first: Duration, step: Duration) -> Self {
        Self::of(Delays::incremental(limit, first, step))
    }

    /// Redelivers `limit` times, each time after about twice as long a wait.
    ///
    /// The first one is about `first`. No wait is longer than `cap`. A `first` longer than `cap` is
    /// a configuration mistake.
    pub fn exponential(limit: u32, first: Duration, cap: Duration) -> Self {
        Self::of(Delays::exponential(limit, first, cap))
    }

    fn of(delays: Delays) -> Self {
        Self {
            delays,
            filters: Filters::default(),
        }
    }

    /// Sets the jitter of the waits.
    ///
    /// Default: [`Jitter::Half`] for [`exponential`](Self::exponential) ones, else
    /// [`Jitter::None`].
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.delays = self.delays.jitter(jitter);
        self
    }

    /// Redelivers only if an `E` is the error or among its sources.
    pub fn only<E: std::error::Error + 'static>(self) -> Self {
        self.when(|error| error.find::<E>().is_some())
    }

    /// Does not redeliver if an `E` is the error or among its sources.
    pub fn ignore<E: std::error::Error + 'static>(self) -> Self {
        self.when(|error| error.find::<E>().is_none())
    }

    /// Redelivers only if `filter` returns `true`; of several filters, all must.
    pub fn when(mut self, filter: impl Fn(&ConsumeError) -> bool + Send + Sync + 'static) -> Self {
        self.filters.add(filter);
        self
    }

    /// The maximal number of redeliveries of a message.
    pub fn limit(&self) -> u32 {
        self.delays.limit()
    }

    /// Returns `true` if this policy is for a message that failed with this error.
    pub(crate) fn decides(&self, error: &ConsumeError) -> bool {
        let eligible = matches!(
            error.kind(),
            FailureKind::Failed | FailureKind::TimedOut | FailureKind::Conflict
        );
        eligible && self.filters.allow(error)
    }

    /// The wait before the next redelivery, after so many; `None` past the limit.
    pub(crate) fn wait_after(&self, redeliveries: u32) -> Option<Duration> {
        self.delays.iter().nth(usize::try_from(redeliveries).ok()?)
    }

    /// The mistake in the policy, with what to do about it.
    pub(crate) fn mistake(&self) -> Option<String> {
        self.delays.mistake("redelivery")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_follow_the_number_of_redeliveries() {
        let redelivery = Redelivery::intervals([SECOND, SECOND * 5]);
        assert_eq!(redelivery.limit(), 2);
        assert_eq!(redelivery.wait_after(0), Some(SECOND));
        assert_eq!(redelivery.wait_after(1), Some(SECOND * 5));
        assert_eq!(redelivery.wait_after(2), None);
        assert_eq!(redelivery.wait_after(u32::MAX), None);
    }

    #[test]
    fn only_failures_that_may_pass_are_redelivered() {
        let redelivery = Redelivery::interval(1, SECOND).ignore::<std::fmt::Error>();
        assert!(redelivery.decides(&ConsumeError::from("broken")));
        assert!(!redelivery.decides(&ConsumeError::permanent("never")));
        assert!(!redelivery.decides(&ConsumeError::unavailable("away")));
        assert!(!redelivery.decides(&ConsumeError::from(std::fmt::Error)));
    }
}
