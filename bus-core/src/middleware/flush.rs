//! Flush of the outbox that the successful attempt has left.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::{Middleware, Next};
use crate::consume::{ConsumeContext, ReceiveContext, Trouble, Waits};
use crate::error::{ConsumeError, ConsumeResult, SendError, SendErrorKind};
use crate::message::Intent;
use crate::send::SealedMessage;

/// The trouble of messages whose outbox cannot leave, for the endpoint's health.
const WAITING: &str = "wait for the broker to take what their consumers sent";

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Sends the outbox once the consumer has succeeded, until all is confirmed.
///
/// All messages are handed to the transport at once and in order. Those that the broker cannot take
/// for a while follow, and none overtakes an earlier one to the same target then.
///
/// A message that is refused for good, which could not be known at the call, fails the delivery
/// when the others have left.
///
/// It stands outside of retry: a broker that cannot be reached is waited for with the same messages
/// and ids, and the consumer is not run again.
pub(crate) struct Flush {
    /// `true` if replies are kept for the requesters of duplicates.
    pub(crate) keep_replies: bool,
}

#[async_trait]
impl Middleware for Flush {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        next.run(ctx.clone()).await?;
        let received = ctx.received();
        let messages = received.progress.take_outbox();
        if messages.is_empty() {
            return Ok(());
        }
        if self.keep_replies {
            // A reply to an earlier request is none to a duplicate of this message.
            let request = received.envelope.request_id;
            let is_reply = |sealed: &&SealedMessage| {
                sealed.intent == Intent::Respond && sealed.envelope.request_id == request
            };
            let replies = messages.iter().filter(is_reply).cloned();
            received.progress.keep_replies(replies.collect());
        }
        tokio::select! {
            biased;
            flushed = flush(received, messages) => flushed,
            () = ctx.cancelled() => Err(ConsumeError::cancelled()),
        }
    }
}

async fn flush(received: &ReceiveContext, mut messages: Vec<SealedMessage>) -> ConsumeResult {
    received.progress.begin_flush();
    let mut waits = Waits::new(received, FIRST_WAIT, LONGEST_WAIT);
    let (mut waiting, mut refused) = (None, None);
    let mut outcomes = send_all(received, &messages).await;
    loop {
        let mut remaining = Vec::new();
        for (sealed, outcome) in messages.into_iter().zip(outcomes) {
            match outcome {
                Some(Ok(())) => {}
                None => remaining.push(sealed),
                Some(Err(error)) if is_requester_gone(&sealed, &error) => {
                    tracing::info!(endpoint = %received.endpoint.name, %error, "the requester is gone, the reply is dropped");
                }
                Some(Err(error)) if error.is_transient() => {
                    note_wait(received, &error, &mut waiting);
                    remaining.push(sealed);
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
        messages = remaining;
        waits.next().await?;
        outcomes = send_in_turn(received, &messages).await;
    }
}

/// Notes the wait in the endpoint's health, for as long as it lasts.
/// The log says it once for all messages that wait at a time.
fn note_wait(received: &ReceiveContext, error: &SendError, waiting: &mut Option<Trouble>) {
    let endpoint = &received.endpoint;
    if let Some(trouble) = waiting {
        return trouble.because(error.to_string());
    }
    let trouble = endpoint.troubles.note(WAITING, error.to_string());
    if trouble.is_first() {
        tracing::warn!(endpoint = %endpoint.name, %error, "the outbox waits for the broker");
    }
    *waiting = Some(trouble);
}

type Outcome = Option<Result<(), SendError>>;

/// Sends all at once: the transport keeps the order in which they were handed over.
async fn send_all(received: &ReceiveContext, messages: &[SealedMessage]) -> Vec<Outcome> {
    let direct = received.endpoint.outbound.direct();
    if let [only] = messages {
        return vec![Some(direct.dispatch(only.clone()).await)];
    }
    let outcomes = direct.dispatch_all(messages.to_vec()).await;
    outcomes.into_iter().map(Some).collect()
}

/// Sends messages to the same target one after the other.
/// None overtakes one that the broker still refuses; those after such a one are not tried.
async fn send_in_turn(received: &ReceiveContext, messages: &[SealedMessage]) -> Vec<Outcome> {
    let outbound = &received.endpoint.outbound;
    let mut by_target: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, sealed) in messages.iter().enumerate() {
        let target = sealed.outgoing.target.name();
        by_target.entry(target).or_default().push(place);
    }
    let in_turn = by_target.into_values().map(|places| async move {
        let mut done = Vec::new();
        for place in places {
            let outcome = outbound.direct().dispatch(messages[place].clone()).await;
            let waits = outcome.as_ref().is_err_and(SendError::is_transient);
            done.push((place, outcome));
            if waits {
                break;
            }
        }
        done
    });
    let mut outcomes: Vec<_> = messages.iter().map(|_| None).collect();
    for (place, outcome) in join_all(in_turn).await.into_iter().flatten() {
        outcomes[place] = Some(outcome);
    }
    outcomes
}

fn is_requester_gone(sealed: &SealedMessage, error: &SendError) -> bool {
    sealed.intent == Intent::Respond && error.kind() == SendErrorKind::Unroutable
}
