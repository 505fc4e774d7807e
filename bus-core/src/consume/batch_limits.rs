//! Limits of the batches of a consumer.

use std::time::Duration;

/// Limits of the batches of one consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Maximal number of messages in a batch.
    pub(crate) size: usize,
    /// Time for which a batch waits for more messages.
    pub(crate) time: Duration,
    /// Number of batches that are consumed at once.
    pub(crate) parallel: usize,
}

impl BatchLimits {
    /// Returns the number of messages that full batches handle at once.
    pub(crate) fn messages(&self) -> usize {
        self.size.saturating_mul(self.parallel)
    }

    /// Returns what is wrong with the limits themselves.
    pub(crate) fn mistakes(&self) -> impl Iterator<Item = &'static str> {
        let checks = [
            (
                self.size == 0,
                "its batches have a size of 0, so none would ever be complete; use at least 1",
            ),
            (
                self.time.is_zero(),
                "its batches wait for no time, so each would have one message; use a time, or a consumer of single messages",
            ),
            (
                self.parallel == 0,
                "it consumes 0 batches in parallel, so none would ever be consumed; use at least 1",
            ),
        ];
        let wrong = checks.into_iter().filter(|(is_wrong, _)| *is_wrong);
        wrong.map(|(_, mistake)| mistake)
    }
}
