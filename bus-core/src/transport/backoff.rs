//! Growing waits between attempts that go on until one succeeds.

use std::fmt;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use tokio::time::Instant;

/// Exponential waits between attempts that go on until one succeeds.
///
/// Each wait has jitter and a cap; their number is not limited. Follows tokio's clock.
///
/// ```
/// use std::time::Duration;
/// use bus_core::transport::Backoff;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// for _attempt in 0..3 {
///     backoff.wait().await;
/// }
/// # }
/// ```
pub struct Backoff {
    policy: ExponentialBackoff,
    cap: Duration,
}

impl Backoff {
    /// Creates a backoff whose first wait is about `first`, and none exceeds `cap`.
    ///
    /// Each later wait is about twice as long as the one before; jitter varies it by up to half.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            policy: exponential(first, cap, 0.5),
            cap,
        }
    }

    /// Starts again with the first wait.
    ///
    /// Call it once an attempt has succeeded.
    pub fn reset(&mut self) {
        self.policy.reset();
    }

    /// Waits until the next attempt is due.
    ///
    /// Cancel-safe: a wait that is dropped counts, so that the next one is longer.
    pub async fn wait(&mut self) {
        let next = self.policy.next_backoff().unwrap_or(self.cap);
        tokio::time::sleep(next.min(self.cap)).await;
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff")
            .field("cap", &self.cap)
            .finish_non_exhaustive()
    }
}

/// Returns the instant that far from now.
///
/// `None` where that is beyond the clock, as for `Duration::MAX`, which means without limit.
pub(crate) fn from_now(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}

/// Builds the policy of the `backoff` crate with the settings that we rely on.
///
/// It has no limit of total time, which it would measure by its own clock. It applies jitter after
/// its cap, so callers cap what it returns.
pub(crate) fn exponential(first: Duration, cap: Duration, jitter: f64) -> ExponentialBackoff {
    ExponentialBackoff {
        current_interval: first,
        initial_interval: first,
        max_interval: cap,
        multiplier: 2.0,
        randomization_factor: jitter,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    }
}
