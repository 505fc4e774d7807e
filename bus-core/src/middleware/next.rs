//! The chain of middleware around a consumer.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;

use crate::consume::{ChainEnd, ConsumeContext, UnitOfWork};
use crate::error::{ConsumeError, ConsumeResult, panics};

/// Middleware that runs around every message of an endpoint.
///
/// ```
/// use bus_core::{ConsumeContext, ConsumeResult, Middleware, Next, async_trait};
///
/// struct Timed;
///
/// #[async_trait]
/// impl Middleware for Timed {
///     async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
///         let started = std::time::Instant::now();
///         let result = next.run(ctx).await;
///         println!("consumed in {:?}", started.elapsed());
///         result
///     }
/// }
/// ```
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// Handles one message, by running the rest of the chain with `next.run(ctx)`.
    ///
    /// It runs the rest once to go on, not at all to stop the message here, again to repeat. `Ok`
    /// without calling `next` acknowledges the message unhandled. The future may be dropped at any
    /// await when the endpoint stops.
    ///
    /// # Errors
    /// An error fails the message, as an error of the consumer does.
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult;
}

/// Makes a middleware from an async function.
///
/// ```
/// use bus_core::{ConsumeContext, Next, middleware};
///
/// let audit = middleware::from_fn(|ctx: ConsumeContext, next: Next| async move {
///     let id = ctx.message_id();
///     let result = next.run(ctx).await;
///     println!("{id:?}: {}", if result.is_ok() { "done" } else { "failed" });
///     result
/// });
/// # let _ = audit;
/// ```
pub fn from_fn<F, Fut>(function: F) -> impl Middleware
where
    F: Fn(ConsumeContext, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ConsumeResult> + Send,
{
    FromFn(function)
}

struct FromFn<F>(F);

#[async_trait]
impl<F, Fut> Middleware for FromFn<F>
where
    F: Fn(ConsumeContext, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ConsumeResult> + Send,
{
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        (self.0)(ctx, next).await
    }
}

/// All middleware of an endpoint, outermost first.
pub(crate) type Chain = Arc<[Arc<dyn Middleware>]>;

/// The rest of the chain, up to the consumer.
///
/// Cheap to clone; may be run again.
#[derive(Clone)]
pub struct Next {
    chain: Chain,
    position: usize,
    end: Arc<dyn ChainEnd>,
}

impl Next {
    pub(crate) fn new(chain: Chain, end: Arc<dyn ChainEnd>) -> Self {
        Self {
            chain,
            position: 0,
            end,
        }
    }

    /// Runs the next middleware, or at the end the consumer.
    ///
    /// # Errors
    /// The error of what it runs; a panic in there comes back as an error too.
    pub async fn run(&self, ctx: ConsumeContext) -> ConsumeResult {
        let outcome = match self.chain.get(self.position) {
            Some(middleware) => {
                let rest = Self {
                    position: self.position + 1,
                    ..self.clone()
                };
                AssertUnwindSafe(middleware.handle(ctx, rest))
                    .catch_unwind()
                    .await
            }
            None => AssertUnwindSafe(self.call(ctx)).catch_unwind().await,
        };
        outcome.unwrap_or_else(|panic| Err(ConsumeError::panicked(panics::text(&*panic))))
    }

    /// Returns the unit of work that the consumer brings.
    pub(super) fn unit_of_work(&self) -> Option<&dyn UnitOfWork> {
        self.end.unit_of_work()
    }

    /// Returns `true` if messages wait for each other, to be consumed in batches.
    pub(super) fn collects(&self) -> bool {
        self.end.batches().is_some()
    }

    async fn call(&self, ctx: ConsumeContext) -> ConsumeResult {
        self.end.call(ctx).await
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("steps_left", &(self.chain.len() - self.position))
            .finish_non_exhaustive()
    }
}
