//! Waits that grow, for what must be tried until it works.

use std::fmt;
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use tokio::time::Instant;

/// Waits for what must be tried until it works: exponential, with jitter and a cap, without end. Follows tokio's clock.
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
    /// The first wait is about `first`, each later one about twice as long, none longer than `cap`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self {
            policy: exponential(first, cap, 0.5),
            cap,
        }
    }

    /// Begins again with the first wait.
    pub fn reset(&mut self) {
        self.policy.reset();
    }

    /// Waits. Cancel-safe.
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

/// The instant that far from now; none where that is beyond the clock, as `Duration::MAX` is: without end.
pub(crate) fn from_now(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}

/// The policy of the `backoff` crate with the settings that we rely on: no limit of total time, which it would measure
/// by its own clock. It applies jitter after its cap, so callers cap what it returns.
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
