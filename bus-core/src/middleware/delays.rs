//! Waits between the attempts of a message, in the shapes that policies have.

use std::sync::Arc;
use std::time::Duration;

use backoff::backoff::Backoff as _;

use crate::transport::backoff::exponential;

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

/// Waits in order, and their number.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    shape: Shape,
    jitter: Jitter,
}

#[derive(Clone, Debug)]
enum Shape {
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
    },
}

impl Delays {
    pub(super) fn none() -> Self {
        Self::of(Shape::None)
    }

    pub(super) fn repeated(limit: u32, wait: Duration) -> Self {
        Self::of(Shape::Repeated { limit, wait })
    }

    pub(super) fn fixed(waits: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(Shape::Fixed(waits.into_iter().collect()))
    }

    pub(super) fn incremental(limit: u32, first: Duration, step: Duration) -> Self {
        Self::of(Shape::Incremental { limit, first, step })
    }

    pub(super) fn exponential(limit: u32, first: Duration, cap: Duration) -> Self {
        Self::of(Shape::Exponential { limit, first, cap }).jitter(Jitter::Half)
    }

    fn of(shape: Shape) -> Self {
        Self {
            shape,
            jitter: Jitter::None,
        }
    }

    pub(super) fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The number of waits.
    pub(super) fn limit(&self) -> u32 {
        match &self.shape {
            Shape::None => 0,
            Shape::Fixed(waits) => u32::try_from(waits.len()).unwrap_or(u32::MAX),
            Shape::Repeated { limit, .. }
            | Shape::Incremental { limit, .. }
            | Shape::Exponential { limit, .. } => *limit,
        }
    }

    /// The mistake in the waits of a `policy`, with what to do about it.
    pub(super) fn mistake(&self, policy: &str) -> Option<String> {
        match &self.shape {
            Shape::Fixed(waits) if waits.is_empty() => Some(format!(
                "{policy} has no intervals, so it does nothing; leave it out, or use none()"
            )),
            Shape::Exponential { first, cap, .. } if first > cap => Some(format!(
                "the first wait of {policy} is longer than its cap; exchange the two"
            )),
            _ => None,
        }
    }

    /// The waits of one message, in order.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = Duration> + Send + '_> {
        match &self.shape {
            Shape::None => Box::new(std::iter::empty()),
            Shape::Fixed(waits) => Box::new(waits.iter().map(|wait| self.varied(*wait))),
            Shape::Repeated { limit, wait } => Box::new((0..*limit).map(|_| self.varied(*wait))),
            Shape::Incremental { limit, first, step } => Box::new(
                (0..*limit)
                    .map(|index| self.varied(first.saturating_add(step.saturating_mul(index)))),
            ),
            Shape::Exponential { limit, first, cap } => {
                let spread = if self.jitter == Jitter::Half {
                    0.5
                } else {
                    0.0
                };
                let mut policy = exponential(*first, *cap, spread);
                Box::new((0..*limit).map(move |_| policy.next_backoff().unwrap_or(*cap).min(*cap)))
            }
        }
    }

    fn varied(&self, wait: Duration) -> Duration {
        match self.jitter {
            Jitter::None => wait,
            Jitter::Half => exponential(wait, wait, 0.5).next_backoff().unwrap_or(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn millis(delays: &Delays) -> Vec<u128> {
        delays.iter().map(|wait| wait.as_millis()).collect()
    }

    #[test]
    fn waits_have_the_shape_that_was_chosen() {
        assert_eq!(millis(&Delays::none()), [0; 0]);
        assert_eq!(millis(&Delays::repeated(3, ms(0))), [0, 0, 0]);
        assert_eq!(millis(&Delays::repeated(2, ms(7))), [7, 7]);
        assert_eq!(millis(&Delays::fixed([ms(1), ms(5)])), [1, 5]);
        assert_eq!(millis(&Delays::incremental(3, ms(10), ms(5))), [10, 15, 20]);
        assert_eq!(
            millis(&Delays::exponential(6, ms(10), ms(100)).jitter(Jitter::None)),
            [10, 20, 40, 80, 100, 100]
        );
    }

    #[test]
    fn jitter_varies_waits_within_its_bounds() {
        let exponential = Delays::exponential(1000, ms(10), ms(100));
        assert!(
            exponential
                .iter()
                .all(|wait| wait >= ms(5) && wait <= ms(100))
        );
        let repeated = Delays::repeated(1000, ms(100)).jitter(Jitter::Half);
        assert!(
            repeated
                .iter()
                .all(|wait| wait >= ms(50) && wait <= ms(150))
        );
        assert!(repeated.iter().any(|wait| wait != ms(100)));
    }

    #[test]
    fn waits_may_be_without_end() {
        const MAX: Duration = Duration::MAX;
        for delays in [
            Delays::repeated(3, MAX),
            Delays::repeated(3, MAX).jitter(Jitter::Half),
            Delays::incremental(3, MAX, MAX),
            Delays::exponential(3, MAX, MAX),
        ] {
            assert_eq!(delays.iter().count(), 3, "{delays:?}");
        }
    }
}
