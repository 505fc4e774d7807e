//! One call of a batch consumer, and the outcomes of its members.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::consumer::BatchConsumer;
use super::members::{Batch, Member};
use crate::consume::ConsumeContext;
use crate::error::{ConsumeError, ConsumeResult, FailureKind, panics};

/// Time limit of a call, which the timeout of the endpoint leaves in the context.
///
/// The timeout of a single message would include the wait for other members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTimeout(pub(crate) Duration);

/// A delivery that waits for the outcome of its message.
pub(super) struct Waiting<M> {
    pub(super) context: ConsumeContext<M>,
    pub(super) outcome: oneshot::Sender<ConsumeResult>,
}

impl<M> Waiting<M> {
    /// Returns `true` if the delivery has ended already: it takes no outcome any more.
    pub(super) fn has_left(&self) -> bool {
        self.outcome.is_closed()
    }
}

/// The outcomes of the members of a batch, to be handed over.
pub(super) struct Outcomes(Vec<(oneshot::Sender<ConsumeResult>, ConsumeResult)>);

impl Outcomes {
    /// Hands each delivery its outcome.
    pub(super) fn hand_over(self) {
        for (delivery, outcome) in self.0 {
            // One that has left meanwhile goes back to its queue.
            let _ = delivery.send(outcome);
        }
    }
}

/// Calls the consumer; returns `None` if all deliveries ended before it did.
pub(super) async fn run<M, C: BatchConsumer<M>>(
    consumer: &C,
    waiting: Vec<Waiting<M>>,
) -> Option<Outcomes> {
    let (members, mut deliveries): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .map(|one| (Member::new(one.context), one.outcome))
        .unzip();
    let members: Arc<[Member<M>]> = members.into();
    let first = members.first()?.context();
    let span = tracing::debug_span!(
        "consume_batch",
        destination = first.endpoint(),
        messages = members.len(),
    );
    let called = call(consumer, &members).instrument(span);
    let whole = tokio::select! {
        biased;
        whole = called => whole,
        () = all_left(&mut deliveries) => return None,
    };
    let outcomes = members
        .iter()
        .map(|member| outcome(member, &whole, &members));
    Some(Outcomes(deliveries.into_iter().zip(outcomes).collect()))
}

async fn call<M, C: BatchConsumer<M>>(consumer: &C, members: &Arc<[Member<M>]>) -> ConsumeResult {
    let batch = Batch::new(members);
    // In a block, as the call itself may panic before there is a future.
    let called = AssertUnwindSafe(async { consumer.consume(batch).await }).catch_unwind();
    let limit = members
        .first()
        .and_then(|first| first.context().extension());
    let ended = match limit {
        None => called.await,
        Some(CallTimeout(limit)) => {
            let ended = tokio::time::timeout(*limit, called).await;
            ended.map_err(|_| {
                let error = format!("the batch took longer than its timeout of {limit:?}");
                ConsumeError::of_kind(FailureKind::TimedOut, error)
            })?
        }
    };
    ended.unwrap_or_else(|panic| Err(ConsumeError::panicked(panics::text(&*panic))))
}

/// Waits until no delivery takes an outcome any more.
async fn all_left(deliveries: &mut [oneshot::Sender<ConsumeResult>]) {
    for delivery in deliveries {
        delivery.closed().await;
    }
}

/// Returns what was decided about a member, or else the outcome of the whole batch.
///
/// One that failed with the others may not be the culprit, and is tried apart from them.
fn outcome<M>(member: &Member<M>, whole: &ConsumeResult, members: &[Member<M>]) -> ConsumeResult {
    if let Some(decision) = member.decision() {
        return decision;
    }
    let error = match whole {
        Ok(()) => return Ok(()),
        Err(error) => error.clone(),
    };
    let may_be_innocent = matches!(error.kind(), FailureKind::Failed | FailureKind::TimedOut);
    if members.len() > 1 && may_be_innocent && !error.is_unavailable() {
        member.context().received().progress.keep_apart();
    }
    Err(error)
}
