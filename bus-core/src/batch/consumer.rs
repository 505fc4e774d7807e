//! Consumers of batches, as users write them.

use std::future::Future;
use std::sync::Arc;

use super::members::Batch;
use crate::error::{ConsumeError, ConsumeResult};

/// Consumes many messages of type `M` as one.
///
/// Write a struct with the fields it needs, or pass an async function, to
/// [`Endpoint::batch`](crate::Endpoint::batch). One consumer serves as many batches at once as
/// [`Batching::in_parallel`](super::Batching::in_parallel) says.
///
/// ```
/// use bus_core::batch::{Batch, BatchConsumer};
/// use bus_core::{ConsumeResult, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:InvoiceCreated")]
/// struct InvoiceCreated { number: String }
///
/// # struct Index;
/// # impl Index {
/// #     async fn add_all(&self, _: impl Iterator<Item = &str>) -> Result<(), std::io::Error> { Ok(()) }
/// # }
/// struct Search { index: Index }
///
/// impl BatchConsumer<InvoiceCreated> for Search {
///     async fn consume(&self, batch: Batch<InvoiceCreated>) -> ConsumeResult {
///         let numbers = batch.messages().map(|invoice| invoice.number.as_str());
///         self.index.add_all(numbers).await?;
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consumer of batches of `{M}`",
    label = "not a consumer of batches",
    note = "a function is one if it is `async`, takes `Batch<Message>` by value and returns `ConsumeResult`",
    note = "a type is one if it implements `BatchConsumer<Message>`"
)]
pub trait BatchConsumer<M>: Send + Sync + 'static {
    /// Handles one batch, which has at least one member.
    ///
    /// `Ok` is the outcome of each member that was not decided, and so is `Err`: see
    /// [the module](super). The future is dropped when its timeout has passed, and when the
    /// deliveries of all its members have ended, as at the end of a stop; one that is dropped alone
    /// ends no others.
    fn consume(&self, batch: Batch<M>) -> impl Future<Output = ConsumeResult> + Send;
}

#[diagnostic::do_not_recommend]
impl<M, F, Fut, E> BatchConsumer<M> for F
where
    M: Send + Sync + 'static,
    F: Fn(Batch<M>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<ConsumeError>,
{
    async fn consume(&self, batch: Batch<M>) -> ConsumeResult {
        self(batch).await.map_err(Into::into)
    }
}

/// One consumer that several endpoints share.
#[diagnostic::do_not_recommend]
impl<M, C> BatchConsumer<M> for Arc<C>
where
    M: Send + Sync + 'static,
    C: BatchConsumer<M>,
{
    fn consume(&self, batch: Batch<M>) -> impl Future<Output = ConsumeResult> + Send {
        (**self).consume(batch)
    }
}
