//! Retries of failed messages: waits, limits and filters.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backoff::backoff::Backoff as _;

use crate::error::{ConsumeError, FailureKind};
use crate::transport::backoff::exponential;

/// Policy by which a failed message is retried in place.
///
/// The delivery stays with this consumer and keeps its concurrency slot meanwhile, so that a
/// concurrency of 1 keeps the order. For waits of more than some seconds that is too long.
///
/// Permanent errors, panics and messages that cannot be decoded are never retried, nor is a
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
#[derive(Clone)]
#[must_use]
pub struct Retry {
    waits: Waits,
    filters: Vec<Filter>,
}

/// Variation of waits, so that failed messages do not come back all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Each wait is exactly as configured.
    None,
    /// Each wait is between half and one and a half of the configured one.
    ///
    /// It is never above the cap.
    Half,
}

#[derive(Clone, Debug)]
enum Waits {
    None,
    Fixed(Arc<[Duration]>),
    Repeated {
        limit: u32,
        wait: Duration,
    },
    Incremental {
        limit: u32,
        first: Duration,
        step: Duration,
    },
    Exponential {
        limit: u32,
        first: Duration,
        cap: Duration,
        jitter: Jitter,
    },
}

type Filter = Arc<dyn Fn(&ConsumeError) -> bool + Send + Sync>;

impl Retry {
    /// Retries nothing: the first failure is final.
    pub fn none() -> Self {
        Self::of(Waits::None)
    }

    /// Retries `limit` times without a wait.
    pub fn immediate(limit: u32) -> Self {
        Self::interval(limit, Duration::ZERO)
    }

    /// Retries `limit` times, each time after the same wait.
    pub fn interval(limit: u32, wait: Duration) -> Self {
        Self::of(Waits::Repeated { limit, wait })
    }

    /// Retries once after each of these waits, in order.
    ///
    /// No waits at all are a configuration mistake; see [`none`](Self::none).
    pub fn intervals(waits: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(Waits::Fixed(waits.into_iter().collect()))
    }

    /// Retries `limit` times: first after `first`, then after `step` more each time.
    pub fn incremental(limit: u32, first: Duration, step: Duration) -> Self {
        Self::of(Waits::Incremental { limit, first, step })
    }

    /// Retries `limit` times: after about `first`, then after twice as long each time.
    ///
    /// No wait is longer than `cap`. With jitter; [`jitter`](Self::jitter) switches it off. A
    /// `first` longer than `cap` is a configuration mistake.
    pub fn exponential(limit: u32, first: Duration, cap: Duration) -> Self {
        Self::of(Waits::Exponential {
            limit,
            first,
            cap,
            jitter: Jitter::Half,
        })
    }

    fn of(waits: Waits) -> Self {
        Self {
            waits,
            filters: Vec::new(),
        }
    }

    /// Sets the jitter of [`exponential`](Self::exponential) waits.
    ///
    /// Other waits have none. Default: [`Jitter::Half`].
    pub fn jitter(mut self, chosen: Jitter) -> Self {
        if let Waits::Exponential { jitter, .. } = &mut self.waits {
            *jitter = chosen;
        }
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
        self.filters.push(Arc::new(filter));
        self
    }

    /// The maximal number of retries of a message; the first attempt is not counted.
    pub fn limit(&self) -> u32 {
        match &self.waits {
            Waits::None => 0,
            Waits::Fixed(waits) => u32::try_from(waits.len()).unwrap_or(u32::MAX),
            Waits::Repeated { limit, .. }
            | Waits::Incremental { limit, .. }
            | Waits::Exponential { limit, .. } => *limit,
        }
    }

    pub(super) fn allows(&self, error: &ConsumeError) -> bool {
        // A broker that is away is no failed attempt: the message goes back to its queue.
        let retryable = matches!(
            error.kind(),
            FailureKind::Failed | FailureKind::TimedOut | FailureKind::Conflict
        ) && !error.is_broker_away();
        retryable && self.filters.iter().all(|filter| filter(error))
    }

    /// The mistake in the policy, with what to do about it.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        match &self.waits {
            Waits::Fixed(waits) if waits.is_empty() => {
                Some("retry has no intervals, so it retries nothing; use Retry::none() for that")
            }
            Waits::Exponential { first, cap, .. } if first > cap => {
                Some("the first wait of retry is longer than its cap; exchange the two")
            }
            _ => None,
        }
    }

    /// The waits of one message, in order.
    pub(super) fn waits(&self) -> Box<dyn Iterator<Item = Duration> + Send + '_> {
        match &self.waits {
            Waits::None => Box::new(std::iter::empty()),
            Waits::Fixed(waits) => Box::new(waits.iter().copied()),
            Waits::Repeated { limit, wait } => Box::new((0..*limit).map(|_| *wait)),
            Waits::Incremental { limit, first, step } => {
                Box::new((0..*limit).map(|index| first.saturating_add(step.saturating_mul(index))))
            }
            Waits::Exponential {
                limit,
                first,
                cap,
                jitter,
            } => {
                let mut policy = exponential(
                    *first,
                    *cap,
                    if *jitter == Jitter::Half { 0.5 } else { 0.0 },
                );
                Box::new((0..*limit).map(move |_| policy.next_backoff().unwrap_or(*cap).min(*cap)))
            }
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("waits", &self.waits)
            .field("filters", &self.filters.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{SendError, SendErrorKind};

    fn millis(retry: &Retry) -> Vec<u128> {
        retry.waits().map(|wait| wait.as_millis()).collect()
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn waits_follow_the_policy() {
        assert_eq!(millis(&Retry::none()), [0; 0]);
        assert_eq!(millis(&Retry::immediate(3)), [0, 0, 0]);
        assert_eq!(millis(&Retry::interval(2, ms(7))), [7, 7]);
        assert_eq!(millis(&Retry::intervals([ms(1), ms(5)])), [1, 5]);
        assert_eq!(millis(&Retry::incremental(3, ms(10), ms(5))), [10, 15, 20]);
        assert_eq!(
            millis(&Retry::exponential(6, ms(10), ms(100)).jitter(Jitter::None)),
            [10, 20, 40, 80, 100, 100]
        );
    }

    #[test]
    fn jitter_never_exceeds_the_cap() {
        for wait in Retry::exponential(1000, ms(10), ms(100)).waits() {
            assert!(wait >= ms(5) && wait <= ms(100), "{wait:?}");
        }
    }

    #[test]
    fn waits_may_be_without_end() {
        const MAX: Duration = Duration::MAX;
        for retry in [
            Retry::interval(3, MAX),
            Retry::incremental(3, MAX, MAX),
            Retry::exponential(3, MAX, MAX),
        ] {
            assert_eq!(retry.waits().count(), 3, "{retry:?}");
        }
    }

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
