//! Waits that grow, for what must be tried until it works.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// Exponential waits with jitter and a cap, without end. Follows tokio's clock.
pub(crate) struct Backoff {
    policy: ExponentialBackoff,
    cap: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        Self {
            policy: exponential(first, cap, 0.5),
            cap,
        }
    }

    pub(crate) async fn wait(&mut self) {
        let next = self.policy.next_backoff().unwrap_or(self.cap);
        tokio::time::sleep(next.min(self.cap)).await;
    }
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
