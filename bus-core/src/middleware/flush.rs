//! Sends what the successful attempt has left in the outbox.

use std::collections::BTreeMap;
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
use crate::troubles::Trouble;

/// What messages suffer from whose outbox cannot leave.
const WAITING: &str = "wait for the broker to take what their consumers sent";

/// Sends the outbox once the consumer has succeeded, until the broker owns every message.
///
/// All are handed to the transport at once and in order. Those that the broker cannot take for a while follow, and none
/// overtakes an earlier one to the same target then.
///
/// One that is refused for good, which could not be known at the call, fails the delivery when the others have left.
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
        tokio::select! {
            biased;
            flushed = flush(received, parcels) => flushed,
            () = ctx.cancelled() => Err(ConsumeError::cancelled()),
        }
    }
}

async fn flush(received: &Received, mut parcels: Vec<Parcel>) -> ConsumeResult {
    received.has_left.store(true, Ordering::Relaxed);
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let (mut waiting, mut refused) = (None, None);
    let mut outcomes = send_all(received, &parcels).await;
    loop {
        let mut remaining = Vec::new();
        for (parcel, outcome) in parcels.into_iter().zip(outcomes) {
            match outcome {
                Some(Ok(())) => {}
                None => remaining.push(parcel),
                Some(Err(error)) if is_requester_gone(&parcel, &error) => {
                    tracing::info!(endpoint = %received.site.endpoint, %error, "the requester is gone, the reply is dropped");
                }
                Some(Err(error)) if error.is_transient() => {
                    note_wait(received, &error, &mut waiting);
                    remaining.push(parcel);
                }
                Some(Err(error)) if error.kind() == SendErrorKind::Closed => {
                    return Err(ConsumeError::cancelled());
                }
                // The others leave all the same: their consumer has succeeded.
                Some(Err(error)) => {
                    refused.get_or_insert(error);
                }
            }
        }
        if remaining.is_empty() {
            return refused.map_or(Ok(()), |error| Err(ConsumeError::permanent(error)));
        }
        parcels = remaining;
        backoff.wait().await;
        outcomes = send_in_turn(received, &parcels).await;
    }
}

/// Shows in the endpoint's health for as long as it lasts. The log says it once for all messages that wait at a time.
fn note_wait(received: &Received, error: &SendError, waiting: &mut Option<Trouble>) {
    let site = &received.site;
    if let Some(trouble) = waiting {
        return trouble.because(error.to_string());
    }
    let trouble = site.troubles.note(WAITING, error.to_string());
    if trouble.is_first() {
        tracing::warn!(endpoint = %site.endpoint, %error, "the outbox waits for the broker");
    }
    *waiting = Some(trouble);
}

type Outcome = Option<Result<(), SendError>>;

/// All at once: the transport keeps the order in which they were handed over.
async fn send_all(received: &Received, parcels: &[Parcel]) -> Vec<Outcome> {
    let outbound = &received.site.outbound;
    if let [only] = parcels {
        return vec![Some(outbound.direct().dispatch(only.clone()).await)];
    }
    let sends = parcels
        .iter()
        .map(|parcel| async { Some(outbound.direct().dispatch(parcel.clone()).await) });
    join_all(sends).await
}

/// Those to the same target one after the other, so that none overtakes one that the broker still refuses; those after
/// such a one are not tried.
async fn send_in_turn(received: &Received, parcels: &[Parcel]) -> Vec<Outcome> {
    let outbound = &received.site.outbound;
    let mut by_target: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, parcel) in parcels.iter().enumerate() {
        let target = parcel.outgoing.target.name();
        by_target.entry(target).or_default().push(place);
    }
    let in_turn = by_target.into_values().map(|places| async move {
        let mut done = Vec::new();
        for place in places {
            let outcome = outbound.direct().dispatch(parcels[place].clone()).await;
            let waits = outcome.as_ref().is_err_and(SendError::is_transient);
            done.push((place, outcome));
            if waits {
                break;
            }
        }
        done
    });
    let mut outcomes: Vec<_> = parcels.iter().map(|_| None).collect();
    for (place, outcome) in join_all(in_turn).await.into_iter().flatten() {
        outcomes[place] = Some(outcome);
    }
    outcomes
}

fn is_requester_gone(parcel: &Parcel, error: &SendError) -> bool {
    parcel.intent == Intent::Respond && error.kind() == SendErrorKind::Unroutable
}
