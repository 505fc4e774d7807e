//! The attempts of a message, as its retry policy says.

use std::time::Duration;

use async_trait::async_trait;

use super::attempt::attempt;
use super::repeats::Repeats;
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
        match attempt(&ctx, 1, self.outbox, &next).await {
            Ok(()) => Ok(()),
            // In a future of its own, so that the way of a message that succeeds stays small.
            Err(error) => Box::pin(self.try_again(&ctx, &next, error)).await,
        }
    }
}

impl RetryStep {
    /// Runs the attempts after the first one, until one succeeds or all have failed.
    async fn try_again(
        &self,
        ctx: &ConsumeContext,
        next: &Next,
        mut error: ConsumeError,
    ) -> ConsumeResult {
        let mut repeats = Repeats::new(ctx.received());
        let mut left = self.retry.waits().zip(2..);
        let mut number = 1;
        loop {
            if !repeats.wait(&error).await? {
                let retry = left.next().filter(|_| self.allows(&error, next));
                let Some((wait, following)) = retry else {
                    return Err(error);
                };
                number = following;
                log_retry(ctx, number, wait, &error);
                pause(ctx, wait).await?;
                repeats.begin_attempt();
            }
            error = match attempt(ctx, number, self.outbox, next).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
        }
    }

    fn allows(&self, error: &ConsumeError, next: &Next) -> bool {
        // An outbox refuses at the call what could else be refused at the flush only, outside of
        // retry.
        let has_outbox = self.outbox || next.unit_of_work().is_some();
        self.retry.allows(error) && !(has_outbox && error.is_refused_send())
    }
}

async fn pause(ctx: &ConsumeContext, wait: Duration) -> ConsumeResult {
    tokio::select! {
        biased;
        () = ctx.cancelled() => Err(ConsumeError::cancelled()),
        () = tokio::time::sleep(wait) => Ok(()),
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
