//! The attempts of a message, as its retry policy says.

use std::time::Duration;

use async_trait::async_trait;

use super::attempt::attempt;
use super::{Middleware, Next, Retry};
use crate::consume::ConsumeContext;
use crate::error::{ConsumeError, ConsumeResult, Shown};

/// Runs the attempts, each in work of its own.
/// What a failed attempt has sent is thrown away.
pub(crate) struct RetryStep {
    pub(crate) retry: Retry,
    pub(crate) outbox: bool,
}

#[async_trait]
impl Middleware for RetryStep {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        let mut error = match attempt(&ctx, 1, self.outbox, &next).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        for (wait, number) in self.retry.waits().zip(2..) {
            // An outbox refuses at the call what could else be refused at the flush only, outside
            // of retry.
            let has_outbox = self.outbox || next.unit_of_work().is_some();
            if !self.retry.allows(&error) || has_outbox && error.is_refused_send() {
                break;
            }
            log_retry(&ctx, number, wait, &error);
            tokio::select! {
                biased;
                () = ctx.cancelled() => return Err(ConsumeError::cancelled()),
                () = tokio::time::sleep(wait) => {}
            }
            error = match attempt(&ctx, number, self.outbox, &next).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
        }
        Err(error)
    }
}

/// Logs a retry: the first one as usual, from the second one on as a warning.
fn log_retry(ctx: &ConsumeContext, attempt: u32, wait: Duration, error: &ConsumeError) {
    let endpoint = ctx.endpoint();
    let message_id = ctx.message_id().map(tracing::field::display);
    let error = tracing::field::display(Shown(error));
    if attempt > 2 {
        tracing::warn!(
            endpoint,
            message_id,
            attempt,
            ?wait,
            error,
            "the message is tried again"
        );
    } else {
        tracing::debug!(
            endpoint,
            message_id,
            attempt,
            ?wait,
            error,
            "the message is tried again"
        );
    }
}
