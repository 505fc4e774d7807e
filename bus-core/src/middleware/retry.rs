//! Retries of failed messages: waits, limits and filters.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::delays::{Delays, Jitter};
use crate::error::{ConsumeError, FailureKind};

/// Policy for failed messages: the number of new attempts, and the waits.
///
/// Given to [`Policy::retry`](crate::Policy::retry), it tries again in place: the delivery stays
/// with this consumer and keeps its concurrency slot meanwhile, so that a concurrency of 1 keeps
/// the order. For waits of more than some seconds that is too long: given to
/// [`Policy::redelivery`](crate::Policy::redelivery), it lets the message come again later.
/// Filters restrict it to some errors.
///
/// Permanent errors, panics and messages that cannot be decoded are never tried again, nor is a
/// consumer that could not send because the broker is away: its message goes back to the queue. A
/// message whose consumer says that something is away, or that it met a conflict, is consumed again
/// without being counted; see [`FailureKind`].
///
/// ```
/// use std::time::Duration;
/// use bus_core::Retry;
///
/// let retry = Retry::exponential(5, Duration::from_millis(100), Duration::from_secs(5)).ignore::<std::fmt::Error>();
/// assert_eq!(retry.limit(), 5);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Retry {
    delays: Delays,
    filters: Filters,
}

type Filter = Arc<dyn Fn(&ConsumeError) -> bool + Send + Sync>;

/// Filters of which all must accept an error.
#[derive(Clone, Default)]
struct Filters(Vec<Filter>);

impl Filters {
    fn add(&mut self, filter: impl Fn(&ConsumeError) -> bool + Send + Sync + 'static) {
        self.0.push(Arc::new(filter));
    }

    fn allow(&self, error: &ConsumeError) -> bool {
        self.0.iter().all(|filter| filter(error))
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filters").field(&self.0.len()).finish()
    }
}

impl Retry {
    /// Retries nothing: the first failure is final.
    pub fn none() -> Self {
        Self::of(Delays::none())
    }

    /// Retries `limit` times without a wait.
    pub fn immediate(limit: u32) -> Self {
        Self::interval(limit, Duration::ZERO)
    }

    /// Retries `limit` times, each time after the same wait.
    pub fn interval(limit: u32, wait: Duration) -> Self {
        Self::of(Delays::repeated(limit, wait))
    }

    /// Retries once after each of these waits, in order.
    ///
    /// No waits at all are a configuration mistake; see [`none`](Self::none).
    pub fn intervals(waits: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(Delays::fixed(waits))
    }

    /// Retries `limit` times: first after `first`, then after `step` more each time.
    pub fn incremental(limit: u32, first: Duration, step: Duration) -> Self {
        Self::of(Delays::incremental(limit, first, step))
    }

    /// Retries `limit` times: after about `first`, then after twice as long each time.
    ///
    /// No wait is longer than `cap`. With jitter; [`jitter`](Self::jitter) switches it off. A
    /// `first` longer than `cap` is a configuration mistake.
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

    /// Retries only if an `E` is the error or among its sources.
    pub fn only<E: std::error::Error + 'static>(self) -> Self {
        self.when(|error| error.find::<E>().is_some())
    }

    /// Does not retry if an `E` is the error or among its sources.
    pub fn ignore<E: std::error::Error + 'static>(self) -> Self {
        self.when(|error| error.find::<E>().is_none())
    }

    /// Retries only if `filter` returns `true`; of several filters, all must.
    pub fn when(mut self, filter: impl Fn(&ConsumeError) -> bool + Send + Sync + 'static) -> Self {
        self.filters.add(filter);
        self
    }

    /// The maximal number of further tries of a message; the first one is not counted.
    pub fn limit(&self) -> u32 {
        self.delays.limit()
    }

    /// Returns `true` if a message that failed with this error may be tried again.
    pub(crate) fn allows(&self, error: &ConsumeError) -> bool {
        let retryable = matches!(
            error.kind(),
            FailureKind::Failed | FailureKind::TimedOut | FailureKind::Conflict
        );
        // A broker that is away is no failed attempt: the message goes back to its queue.
        retryable && !error.is_broker_away() && self.filters.allow(error)
    }

    /// The mistake in this policy of a `setting`, with what to do about it.
    pub(crate) fn mistake(&self, setting: &str) -> Option<String> {
        self.delays.mistake(setting)
    }

    /// The wait before the next try, after so many; `None` past the limit.
    pub(crate) fn wait_after(&self, tries: u32) -> Option<Duration> {
        self.delays.iter().nth(usize::try_from(tries).ok()?)
    }

    /// The waits of one message, in order.
    pub(super) fn waits(&self) -> Box<dyn Iterator<Item = Duration> + Send + '_> {
        self.delays.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{SendError, SendErrorKind};

    #[test]
    fn filters_see_the_sources_of_an_error() {
        #[derive(Debug, thiserror::Error)]
        #[error("wrapped")]
        struct Wrapped(#[source] std::fmt::Error);
        let wrapped = ConsumeError::from(Wrapped(std::fmt::Error));
        assert!(
            !Retry::immediate(1)
                .ignore::<std::fmt::Error>()
                .allows(&wrapped)
        );
        assert!(
            Retry::immediate(1)
                .only::<std::fmt::Error>()
                .allows(&wrapped)
        );
        assert!(
            !Retry::immediate(1)
                .only::<std::fmt::Error>()
                .allows(&ConsumeError::from("other"))
        );
        assert!(!Retry::immediate(1).allows(&ConsumeError::permanent("no")));
    }

    #[test]
    fn what_is_away_is_no_failed_attempt() {
        assert!(!Retry::immediate(1).allows(&ConsumeError::unavailable("away")));
        assert!(Retry::immediate(1).allows(&ConsumeError::conflict("again")));
    }

    #[test]
    fn waits_follow_the_number_of_tries() {
        let second = Duration::from_secs(1);
        let retry = Retry::intervals([second, second * 5]);
        assert_eq!(retry.limit(), 2);
        assert_eq!(retry.wait_after(0), Some(second));
        assert_eq!(retry.wait_after(1), Some(second * 5));
        assert_eq!(retry.wait_after(2), None);
        assert_eq!(retry.wait_after(u32::MAX), None);
    }

    #[test]
    fn an_absent_broker_is_no_failed_attempt() {
        for (kind, retried) in [
            (SendErrorKind::Unreachable, false),
            (SendErrorKind::TimedOut, false),
            (SendErrorKind::Nacked, true),
        ] {
            let error = ConsumeError::from(SendError::new(kind, "not sent"));
            assert_eq!(Retry::immediate(1).allows(&error), retried, "{kind:?}");
        }
    }
}
