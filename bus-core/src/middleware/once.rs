//! Runs the rest of the way once for each key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::claims::{Claim, Claims};
use super::{Idempotency, Middleware, Next};
use crate::context::{ConsumeContext, Received, address_reply};
use crate::error::{ConsumeError, ConsumeResult};
use crate::idempotency::{Begin, StoredReply, Token};
use crate::outgoing::{Intent, Parcel};
use crate::send_error::SendErrorKind;

/// Runs the rest once for each key; duplicates wait, then are acknowledged, and answered if they ask.
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

    /// Runs the consumer, beside what keeps its claim alive, and marks the key as done.
    async fn once(&self, ctx: ConsumeContext, next: Next, token: Token) -> ConsumeResult {
        let received = Arc::clone(ctx.received());
        let claim = Claim::new(self.claims().clone(), Arc::clone(&received), token.clone());
        received.claimed(token.clone());
        let work = async {
            // It may have stepped aside for the former owner of the key.
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
        let replies = received.replies.take().into_iter().map(stored).collect();
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
                tracing::debug!(endpoint = ctx.endpoint(), key, "a duplicate is ignored");
                ctx.received().mark_duplicate();
                answer(ctx.received(), replies).await
            }
            Begin::Mismatch => {
                let reason =
                    format!("the idempotency key `{key}` was used by a message with other content");
                Err(ConsumeError::permanent(reason))
            }
            Begin::InProgress => Err(ConsumeError::permanent(
                "the store has not said who owns the key",
            )),
        }
    }
}

/// Between the consumer and the flush of what it sent: asks whether the claim is still ours, as what has left cannot
/// be taken back.
pub(crate) struct ConfirmClaim(pub(crate) Idempotency);

#[async_trait]
impl Middleware for ConfirmClaim {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        next.run(ctx.clone()).await?;
        let received = ctx.received();
        match received.token.get() {
            Some(token) if !received.outbox.is_empty() => {
                self.0.claims().confirm(&ctx, token).await
            }
            _ => Ok(()),
        }
    }
}

fn stored(parcel: Parcel) -> StoredReply {
    let envelope = parcel.envelope;
    let message_types = envelope
        .message_types
        .iter()
        .map(ToString::to_string)
        .collect();
    StoredReply {
        message_types,
        message: envelope.message,
        headers: envelope.headers,
    }
}

/// Gives a duplicate request the reply of the first one, at its own address and request id.
async fn answer(received: &Received, replies: Vec<StoredReply>) -> ConsumeResult {
    let Some(address) = received
        .envelope
        .response_address
        .as_ref()
        .filter(|_| !received.site.is_tap)
    else {
        return Ok(());
    };
    let outbound = &received.site.outbound;
    for (number, reply) in (0_u32..).zip(replies) {
        let types: Vec<_> = reply.message_types.into_iter().map(Into::into).collect();
        let mut draft = outbound.draft_of(types.into(), reply.message, Intent::Respond);
        draft.envelope.headers = reply.headers;
        received.origin().apply(&mut draft);
        draft.envelope.message_id = Some(received.effect("answer", &number.to_le_bytes()));
        draft.envelope.request_id = received.envelope.request_id;
        address_reply(&mut draft, address, &received.envelope).map_err(ConsumeError::permanent)?;
        match outbound.direct().dispatch(outbound.pack(draft)?).await {
            Err(error) if error.kind() != SendErrorKind::Unroutable => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
