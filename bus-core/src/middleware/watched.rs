//! Reports of one attempt, to observers.

use std::time::Duration;

use tokio::time::Instant;

use crate::consume::ConsumeContext;
use crate::error::{ConsumeError, ConsumeResult};
use crate::observe::{ConsumeFault, Observers, PostConsume, PreConsume};

/// An attempt under way, whose end is reported even if it is dropped.
pub(super) struct AttemptWatch {
    ctx: ConsumeContext,
    since: Instant,
    has_ended: bool,
}

impl AttemptWatch {
    /// Reports the begin; `None` if there is no observer.
    pub(super) fn begin(ctx: &ConsumeContext) -> Option<Self> {
        if observers(ctx).is_empty() {
            return None;
        }
        let begun = PreConsume {
            endpoint: ctx.endpoint(),
            envelope: ctx.envelope(),
            message: ctx.message(),
            attempt: ctx.attempt(),
            redelivered: ctx.redelivered(),
        };
        let watch = Self {
            ctx: ctx.clone(),
            since: Instant::now(),
            has_ended: false,
        };
        observers(ctx).tell(|observer| observer.pre_consume(&begun));
        Some(watch)
    }

    /// Reports the end.
    pub(super) fn end(mut self, result: &ConsumeResult) {
        self.has_ended = true;
        let elapsed = self.since.elapsed();
        match result {
            Ok(()) => self.succeeded(elapsed),
            Err(error) => self.failed(elapsed, error),
        }
    }

    fn succeeded(&self, elapsed: Duration) {
        let ctx = &self.ctx;
        let succeeded = PostConsume {
            endpoint: ctx.endpoint(),
            envelope: ctx.envelope(),
            message: ctx.message(),
            attempt: ctx.attempt(),
            redelivered: ctx.redelivered(),
            elapsed,
        };
        observers(ctx).tell(|observer| observer.post_consume(&succeeded));
    }

    fn failed(&self, elapsed: Duration, error: &ConsumeError) {
        let ctx = &self.ctx;
        let failed = ConsumeFault {
            endpoint: ctx.endpoint(),
            envelope: ctx.envelope(),
            message: ctx.message(),
            attempt: ctx.attempt(),
            redelivered: ctx.redelivered(),
            elapsed,
            error,
        };
        observers(ctx).tell(|observer| observer.consume_fault(&failed));
    }
}

impl Drop for AttemptWatch {
    fn drop(&mut self) {
        if !self.has_ended {
            self.failed(self.since.elapsed(), &ConsumeError::cancelled());
        }
    }
}

fn observers(ctx: &ConsumeContext) -> &Observers {
    &ctx.received().endpoint.outbound.observers
}
