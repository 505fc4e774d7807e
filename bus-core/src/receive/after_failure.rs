//! Failures that the consumer itself handles, in place of the error queue.

use std::sync::Arc;

use super::receiver::Receiver;
use crate::consume::{ConsumeContext, Registration};
use crate::error::{ConsumeError, ConsumeResult, Shown, panics};
use crate::middleware::Next;

impl Receiver {
    /// Runs the failure handler of a consumer, if it has one and the failure is final.
    ///
    /// In the chain of the endpoint, so that what it sends and stores has the same guarantees as
    /// what a consumer does.
    ///
    /// # Errors
    /// The error with which the message ends: that of the handler, if it ran.
    pub(super) async fn handle_failure(
        &self,
        ctx: ConsumeContext,
        registration: &Registration,
        error: ConsumeError,
    ) -> ConsumeResult {
        let received = Arc::clone(ctx.received());
        if !self.is_final(&received, &error) {
            return Err(error);
        }
        let error = Arc::new(error);
        let handler = panics::caught(|| registration.handler.after_failure(&error));
        if let Ok(Some(handler)) = handler {
            tracing::info!(
                endpoint = %self.endpoint.name,
                message_id = received.envelope.message_id.map(tracing::field::display),
                error = %Shown(&error),
                "the consumer handles its failure"
            );
            let attempts = received.progress.attempts();
            let outcome = Next::new(Arc::clone(&self.chain), handler).run(ctx).await;
            received.progress.set_attempts(attempts);
            return outcome;
        }
        // Nothing else holds it.
        Err(Arc::into_inner(error).unwrap_or_else(|| ConsumeError::permanent("the message failed")))
    }
}
