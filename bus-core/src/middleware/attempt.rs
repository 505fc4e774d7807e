//! One attempt: its outbox, its unit of work, and its observers.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::Next;
use super::replies::duplicate;
use super::watched::AttemptWatch;
use crate::consume::{Begun, ConsumeContext, UnitOfWork, Waits, Work};
use crate::error::{ConsumeError, ConsumeResult, Shown, panics};
use crate::send::{Dispatch, Outbox, SealedMessage};

/// Waits of a duplicate before it begins again.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time for which it waits: brokers end consumers that hold a delivery for long.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Runs one attempt, in the unit of work that its consumer brings.
/// What it has sent is left to the flush if it succeeds. Without an outbox, and without a unit, it
/// leaves at once.
pub(super) async fn attempt(
    ctx: &ConsumeContext,
    number: u32,
    has_outbox: bool,
    next: &Next,
) -> ConsumeResult {
    let received = ctx.received();
    let unit = next.unit_of_work();
    let outbound = &received.endpoint.outbound;
    let outbox = (has_outbox || unit.is_some())
        .then(|| OpenOutbox(Arc::new(Outbox::open(Arc::clone(&outbound.transport)))));
    let dispatch = match &outbox {
        Some(OpenOutbox(outbox)) => Arc::clone(outbox) as Arc<dyn Dispatch>,
        None => outbound.direct(),
    };
    let attempt = ctx.attempt_with(number, dispatch);
    let begun = match unit {
        Some(unit) => begin(unit, &attempt).await.map(Some),
        None => Ok(None),
    };
    if let Ok(Some(Begun::Duplicate(replies))) = begun {
        received.progress.forgo_attempt();
        received.progress.keep_outbox(duplicate(received, replies)?);
        return Ok(());
    }
    let watch = AttemptWatch::begin(&attempt);
    let result = match begun {
        Ok(Some(Begun::Work(work))) => run_in(work, attempt, outbox, next).await,
        Ok(_) => run(attempt, outbox, next).await,
        Err(error) => Err(error),
    };
    let result = result.map(|messages| received.progress.keep_outbox(messages));
    if let Some(watch) = watch {
        watch.end(&result);
    }
    result
}

/// Begins the work; a duplicate waits for the delivery that is being handled.
async fn begin(unit: &dyn UnitOfWork, ctx: &ConsumeContext) -> ConsumeResult<Begun> {
    match caught(unit.begin(ctx)).await {
        // In a future of its own, so that the way of a message that is no duplicate stays small.
        Ok(Begun::InProgress) => Box::pin(begin_later(unit, ctx)).await,
        begun => begun,
    }
}

async fn begin_later(unit: &dyn UnitOfWork, ctx: &ConsumeContext) -> ConsumeResult<Begun> {
    let received = ctx.received();
    let until = Instant::now() + PATIENCE;
    let mut waits = Waits::new(received, FIRST_WAIT, LONGEST_WAIT);
    while Instant::now() < until {
        received.slot.step_aside();
        waits.next().await?;
        // Before the work begins, as that may hold what those with a slot wait for.
        received.slot.enter().await;
        match caught(unit.begin(ctx)).await {
            Ok(Begun::InProgress) => {}
            begun => return begun,
        }
    }
    Err(ConsumeError::unavailable(
        "another delivery of the same message has not ended",
    ))
}

/// Outbox of an attempt that runs, closed with it.
///
/// Also when the future of the attempt is dropped: a task that outlives it gets no `Ok` for a
/// message that never leaves.
struct OpenOutbox(Arc<Outbox>);

impl OpenOutbox {
    fn close(self) -> Vec<SealedMessage> {
        self.0.close()
    }
}

impl Drop for OpenOutbox {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs the rest of the chain; returns what it has sent.
async fn run(
    ctx: ConsumeContext,
    outbox: Option<OpenOutbox>,
    next: &Next,
) -> ConsumeResult<Vec<SealedMessage>> {
    let result = next.run(ctx).await;
    let sent = outbox.map(OpenOutbox::close).unwrap_or_default();
    result.map(|()| sent)
}

/// Runs the rest of the chain in its work; returns what is to leave.
async fn run_in(
    work: Box<dyn Work>,
    ctx: ConsumeContext,
    outbox: Option<OpenOutbox>,
    next: &Next,
) -> ConsumeResult<Vec<SealedMessage>> {
    let ctx = work.enter(ctx);
    match run(ctx, outbox, next).await {
        Ok(sent) => caught(work.commit(sent)).await,
        Err(error) => {
            let rolled_back = async {
                work.roll_back().await;
                Ok(())
            };
            if let Err(panic) = caught(rolled_back).await {
                tracing::error!(error = %Shown(panic), "the work of a failed attempt could not be rolled back");
            }
            Err(error)
        }
    }
}

/// Turns a panic of a unit of work into an error, which observers hear of.
async fn caught<T>(call: impl Future<Output = ConsumeResult<T>>) -> ConsumeResult<T> {
    let outcome = AssertUnwindSafe(call).catch_unwind().await;
    outcome.unwrap_or_else(|panic| Err(ConsumeError::panicked(panics::text(&*panic))))
}
