//! Ends of chains of middleware: consumers, and what handles their failures.

use std::any::type_name;

use futures_util::future::BoxFuture;

use super::batch_limits::BatchLimits;
use super::context::ConsumeContext;
use super::unit_of_work::UnitOfWork;
use crate::error::{ConsumeError, ConsumeResult};

/// The end of a chain of middleware: a consumer, or what handles its failure.
pub(crate) trait ChainEnd: Send + Sync {
    fn call(&self, ctx: ConsumeContext) -> BoxFuture<'_, ConsumeResult>;

    fn unit_of_work(&self) -> Option<&dyn UnitOfWork>;

    /// Returns the limits of the batches of its messages, if it has batches.
    fn batches(&self) -> Option<BatchLimits> {
        None
    }
}

/// Returns the context that a consumer of `M` gets.
pub(super) fn typed<M: Send + Sync + 'static>(
    ctx: ConsumeContext,
) -> ConsumeResult<ConsumeContext<M>> {
    ctx.downcast::<M>().map_err(|_| {
        ConsumeError::permanent(format!(
            "the message is not a {}; a middleware changed it",
            type_name::<M>()
        ))
    })
}
