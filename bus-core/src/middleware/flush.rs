//! Sends what the successful attempt has left in the outbox.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{Middleware, Next};
use crate::context::{ConsumeContext, Received};
use crate::error::{ConsumeError, ConsumeResult};
use crate::outgoing::{Intent, Parcel};
use crate::pause::Backoff;
use crate::send_error::{SendError, SendErrorKind};

/// Sends the outbox once the consumer has succeeded, in order, until the broker owns every message.
///
/// It stands outside of retry: a broker that cannot be reached is waited for with the same messages and ids, and the
/// consumer is not run again.
pub(crate) struct Flush {
    /// Replies are kept for the requesters of duplicates.
    pub(crate) keep_replies: bool,
}

#[async_trait]
impl Middleware for Flush {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        next.run(ctx.clone()).await?;
        let received = ctx.received();
        let parcels = received.outbox.take();
        if parcels.is_empty() {
            return Ok(());
        }
        if self.keep_replies {
            let replies = parcels
                .iter()
                .filter(|parcel| parcel.intent == Intent::Respond)
                .cloned();
            received.replies.put(replies.collect());
        }
        received.has_left.store(true, Ordering::Relaxed);
        tokio::select! {
            biased;
            flushed = flush(received, parcels) => flushed,
            () = ctx.cancelled() => Err(ConsumeError::cancelled()),
        }
    }
}

async fn flush(received: &Received, mut parcels: Vec<Parcel>) -> ConsumeResult {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    loop {
        let outcomes = send_all(received, &parcels).await;
        let mut remaining = Vec::new();
        for (parcel, outcome) in parcels.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {}
                Err(error) if is_requester_gone(&parcel, &error) => {
                    tracing::info!(endpoint = %received.site.endpoint, %error, "the requester is gone, the reply is dropped");
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(endpoint = %received.site.endpoint, %error, "the outbox waits for the broker");
                    remaining.push(parcel);
                }
                Err(error) if error.kind() == SendErrorKind::Closed => {
                    return Err(ConsumeError::cancelled());
                }
                Err(error) => return Err(ConsumeError::permanent(error)),
            }
        }
        if remaining.is_empty() {
            return Ok(());
        }
        parcels = remaining;
        backoff.wait().await;
    }
}

/// All at once: the transport keeps the order in which they were handed over.
async fn send_all(received: &Received, parcels: &[Parcel]) -> Vec<Result<(), SendError>> {
    let outbound = &received.site.outbound;
    if let [only] = parcels {
        return vec![outbound.direct().dispatch(only.clone()).await];
    }
    join_all(
        parcels
            .iter()
            .map(|parcel| outbound.direct().dispatch(parcel.clone())),
    )
    .await
}

fn is_requester_gone(parcel: &Parcel, error: &SendError) -> bool {
    parcel.intent == Intent::Respond && error.kind() == SendErrorKind::Unroutable
}
