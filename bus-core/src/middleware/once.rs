//! Steps that handle a message once for each idempotency key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::claims::{Claim, Claims};
use super::replies::duplicate;
use super::{Idempotency, Middleware, Next};
use crate::consume::{ConsumeContext, ReceiveContext};
use crate::error::{ConsumeError, ConsumeResult, SendErrorKind};
use crate::idempotency::{Begin, StoredReply, Token};

/// Runs the rest of the chain once for each key.
/// Duplicates wait, then are acknowledged, and answered if they are requests.
pub(crate) struct IdempotencyStep {
    settings: Idempotency,
    without_key: AtomicU64,
}

impl IdempotencyStep {
    pub(crate) fn new(settings: Idempotency) -> Self {
        Self {
            settings,
            without_key: AtomicU64::new(0),
        }
    }

    fn claims(&self) -> &Claims {
        self.settings.claims()
    }

    /// Runs the consumer while its claim is kept alive, and marks the key as done.
    async fn once(&self, ctx: ConsumeContext, next: Next, token: Token) -> ConsumeResult {
        let received = Arc::clone(ctx.received());
        let claim = Claim::new(self.claims().clone(), Arc::clone(&received), token.clone());
        received.progress.hold_claim(token.clone());
        let work = async {
            // The delivery may have stepped aside for the former owner of the key.
            received.slot.enter().await;
            next.run(ctx.clone()).await
        };
        let result = tokio::select! {
            biased;
            result = work => result,
            never = self.claims().keep_alive(&token) => match never {},
        };
        if result.is_err() {
            claim.release().await;
            return result;
        }
        claim.keep();
        let replies = received.progress.take_replies();
        let replies = replies.iter().map(StoredReply::of).collect();
        self.claims().complete(&ctx, &token, replies).await
    }
}

#[async_trait]
impl Middleware for IdempotencyStep {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        let Some(key) = self.settings.key(&ctx) else {
            let count = self.without_key.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(
                endpoint = ctx.endpoint(),
                count,
                "a message without id or key cannot be deduplicated"
            );
            return next.run(ctx).await;
        };
        match self.claims().begin(&ctx, &key).await? {
            Begin::Fresh(token) => self.once(ctx, next, token).await,
            Begin::Done(replies) => {
                tracing::debug!(
                    endpoint = ctx.endpoint(),
                    key = key.name,
                    "a duplicate is ignored"
                );
                answer(ctx.received(), replies).await
            }
            Begin::Mismatch => {
                let reason = format!(
                    "the idempotency key `{}` was used by a message with other content",
                    key.name
                );
                Err(ConsumeError::permanent(reason))
            }
            Begin::InProgress => Err(ConsumeError::permanent(
                "the store has not said who owns the key",
            )),
        }
    }
}

/// Checks that the claim still holds, between the consumer and the flush.
/// Messages that have left cannot be taken back.
pub(crate) struct ConfirmClaim(pub(crate) Idempotency);

#[async_trait]
impl Middleware for ConfirmClaim {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        next.run(ctx.clone()).await?;
        let progress = &ctx.received().progress;
        match progress.claim() {
            Some(token) if progress.has_outbox() => self.0.claims().confirm(&ctx, &token).await,
            _ => Ok(()),
        }
    }
}

/// Answers a duplicate request with the replies of the first one.
async fn answer(received: &ReceiveContext, replies: Vec<StoredReply>) -> ConsumeResult {
    for reply in duplicate(received, replies)? {
        match received.endpoint.outbound.direct().dispatch(reply).await {
            Err(error) if error.kind() != SendErrorKind::Unroutable => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
