//! Time limit of one attempt.

use std::time::Duration;

use async_trait::async_trait;

use super::{Middleware, Next};
use crate::batch::CallTimeout;
use crate::consume::ConsumeContext;
use crate::error::{ConsumeError, ConsumeResult, FailureKind};

/// Ends an attempt that takes too long; it counts as failed and may be retried.
pub(crate) struct TimeoutStep(pub(crate) Duration);

#[async_trait]
impl Middleware for TimeoutStep {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        if next.collects() {
            // The wait for other members of the batch does not count.
            return next.run(ctx.with_extension(CallTimeout(self.0))).await;
        }
        tokio::time::timeout(self.0, next.run(ctx))
            .await
            .unwrap_or_else(|_| {
                let error = format!("the consumer took longer than its timeout of {:?}", self.0);
                Err(ConsumeError::of_kind(FailureKind::TimedOut, error))
            })
    }
}
