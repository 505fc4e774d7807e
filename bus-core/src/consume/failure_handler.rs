//! Handlers of messages that have failed for good.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::chain_end::{ChainEnd, typed};
use super::context::ConsumeContext;
use super::unit_of_work::UnitOfWork;
use crate::error::{ConsumeError, ConsumeResult};

/// Handles messages of which all attempts have failed, in place of the error queue.
///
/// A consumer brings it by [`failure_handler`](crate::Consumer::failure_handler). It is called when
/// the message would go to the error queue: after the last retry, and when no redelivery follows.
/// It runs as the consumer does, with the same middleware, idempotency, outbox, retries, unit of
/// work and time limit, in attempts that are counted from 1 again. Nothing that the failed attempts
/// have sent has left.
///
/// `Ok` has handled the message: there is no fault, and no copy in the error queue. With an error
/// of the handler, the message ends as one that failed with this error. It is not called for a
/// message that cannot be read, nor for one that probably ends the process.
///
/// A process that ends before the acknowledgement has the message consumed again, by the consumer
/// first, unless idempotency recognizes it.
///
/// ```
/// use std::sync::Arc;
/// use bus_core::consume::FailureHandler;
/// use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Consumer, Endpoint, Message, async_trait};
/// use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Serialize, Deserialize, Message)]
/// # #[message("Payments:TakePayment")]
/// # struct TakePayment { number: String }
/// # #[derive(Debug, Serialize, Deserialize, Message)]
/// # #[message("Payments:PaymentRefused")]
/// # struct PaymentRefused { number: String, reason: String }
///
/// struct Payments;
///
/// impl Consumer<TakePayment> for Payments {
///     async fn consume(&self, _: ConsumeContext<TakePayment>) -> ConsumeResult {
///         Err("the bank says no".into())
///     }
///
///     fn failure_handler(&self) -> Option<Arc<dyn FailureHandler<TakePayment>>> {
///         Some(Arc::new(Refusal))
///     }
/// }
///
/// struct Refusal;
///
/// #[async_trait]
/// impl FailureHandler<TakePayment> for Refusal {
///     async fn handle(&self, ctx: ConsumeContext<TakePayment>, error: &ConsumeError) -> ConsumeResult {
///         let (number, reason) = (ctx.message().number.clone(), error.to_string());
///         Ok(ctx.publish(&PaymentRefused { number, reason }).await?)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let payments = Endpoint::new("payments").consumer(Payments);
/// let harness = Harness::start(|bus| bus.endpoint(payments)).await?;
/// harness.send_to("queue:payments", &TakePayment { number: "A-7".into() }).await?;
/// harness.quiescent().await;
/// assert_eq!(harness.published::<PaymentRefused>().only().reason, "the bank says no");
/// assert!(harness.faulted::<TakePayment>().none());
/// # harness.shutdown().await?;
/// # Ok(()) }
/// ```
#[async_trait]
pub trait FailureHandler<M>: Send + Sync + 'static {
    /// Returns `true` if messages that failed with this error are handled here.
    ///
    /// Others go to the error queue. Default: `true`.
    fn handles(&self, error: &ConsumeError) -> bool {
        let _ = error;
        true
    }

    /// Handles a message that has failed with this error.
    ///
    /// # Errors
    /// An error is retried as one of the consumer; the last one is that of the message.
    async fn handle(&self, ctx: ConsumeContext<M>, error: &ConsumeError) -> ConsumeResult;
}

/// The handler of one failed message, as the end of a chain.
pub(super) struct AfterFailure<M> {
    handler: Arc<dyn FailureHandler<M>>,
    error: Arc<ConsumeError>,
    unit: Option<Arc<dyn UnitOfWork>>,
}

impl<M: Send + Sync + 'static> AfterFailure<M> {
    /// Creates it; `None` if the error is not handled.
    pub(super) fn of(
        handler: &Arc<dyn FailureHandler<M>>,
        error: &Arc<ConsumeError>,
        unit: Option<&Arc<dyn UnitOfWork>>,
    ) -> Option<Arc<dyn ChainEnd>> {
        handler.handles(error).then(|| {
            Arc::new(Self {
                handler: Arc::clone(handler),
                error: Arc::clone(error),
                unit: unit.cloned(),
            }) as Arc<dyn ChainEnd>
        })
    }
}

impl<M: Send + Sync + 'static> ChainEnd for AfterFailure<M> {
    fn call(&self, ctx: ConsumeContext) -> BoxFuture<'_, ConsumeResult> {
        Box::pin(async move { self.handler.handle(typed(ctx)?, &self.error).await })
    }

    fn unit_of_work(&self) -> Option<&dyn UnitOfWork> {
        self.unit.as_deref()
    }
}
