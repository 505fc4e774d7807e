//! Consumers of messages, as users write them.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::batch_limits::BatchLimits;
use super::chain_end::{ChainEnd, typed};
use super::context::{AnyMessage, ConsumeContext};
use super::failure_handler::{AfterFailure, FailureHandler};
use super::unit_of_work::UnitOfWork;
use crate::codec::{Codec, DecodeError, decode_message};
use crate::error::{ConsumeError, ConsumeResult};
use crate::message::{Contract, Envelope, Message, MessageType};

/// Consumes messages of type `M`.
///
/// Write a struct with the fields it needs, or pass an async function. A struct whose methods
/// consume several messages has [`#[consumers]`](crate::consume::consumers) on them.
///
/// One consumer serves many messages at once, so it is shared. `Ok` acknowledges the message. `Err`
/// is retried as the endpoint says, then becomes a [`Fault`](crate::Fault) and a copy in the error
/// queue. A message may come more than once: make the effect idempotent, or give the endpoint an
/// idempotency store.
///
/// ```
/// use bus_core::{ConsumeContext, ConsumeResult, Consumer, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:CreateInvoice")]
/// struct CreateInvoice { number: String }
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Invoicing:InvoiceCreated")]
/// struct InvoiceCreated { number: String }
///
/// struct Invoices;
///
/// impl Consumer<CreateInvoice> for Invoices {
///     async fn consume(&self, ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
///         let number = ctx.message().number.clone();
///         ctx.publish(&InvoiceCreated { number }).await?;
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a consumer of `{M}`",
    label = "not a consumer",
    note = "a function is one if it is `async`, takes `ConsumeContext<Message>` by value and returns `ConsumeResult`",
    note = "a type is one if it implements `Consumer<Message>`; of several messages, name one with `consumer::<Message, _>`, or put `#[consumers]` on its methods"
)]
pub trait Consumer<M>: Send + Sync + 'static {
    /// Handles one message.
    ///
    /// The future may be dropped at any await, when its timeout has passed or the endpoint stops.
    ///
    /// Work that blocks its thread belongs into `tokio::task::spawn_blocking`: it cannot be
    /// dropped, and the worker thread that it takes may be the one that serves every timer and
    /// socket of the runtime, so that the service stands still, its shutdown included.
    fn consume(&self, ctx: ConsumeContext<M>) -> impl Future<Output = ConsumeResult> + Send;

    /// Returns the unit of work in which each attempt runs.
    ///
    /// Asked once, when the consumer is added to its endpoint. Default: `None`; what a successful
    /// attempt has sent leaves, and nothing of others.
    fn unit_of_work(&self) -> Option<Arc<dyn UnitOfWork>> {
        None
    }

    /// Returns the handler of messages that have failed for good.
    ///
    /// Asked once, when the consumer is added to its endpoint. Default: `None`; such a message goes
    /// to the error queue, and a fault is published.
    fn failure_handler(&self) -> Option<Arc<dyn FailureHandler<M>>> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<M, F, Fut, E> Consumer<M> for F
where
    M: Send + Sync + 'static,
    F: Fn(ConsumeContext<M>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<ConsumeError>,
{
    async fn consume(&self, ctx: ConsumeContext<M>) -> ConsumeResult {
        self(ctx).await.map_err(Into::into)
    }
}

/// One consumer that several endpoints, or several message types, share.
#[diagnostic::do_not_recommend]
impl<M, C> Consumer<M> for Arc<C>
where
    M: Send + Sync + 'static,
    C: Consumer<M>,
{
    fn consume(&self, ctx: ConsumeContext<M>) -> impl Future<Output = ConsumeResult> + Send {
        (**self).consume(ctx)
    }

    fn unit_of_work(&self) -> Option<Arc<dyn UnitOfWork>> {
        (**self).unit_of_work()
    }

    fn failure_handler(&self) -> Option<Arc<dyn FailureHandler<M>>> {
        (**self).failure_handler()
    }
}

/// A message of any type, still encoded, for a tap or an audit.
///
/// Its types, ids and headers are in the [`envelope`](ConsumeContext::envelope) of the context,
/// empty if the delivery could not be read; the body as it came is in
/// [`incoming`](ConsumeContext::incoming).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawMessage {
    message: Bytes,
}

impl RawMessage {
    pub(crate) fn new(message: Bytes) -> Self {
        Self { message }
    }

    /// Returns the message part as text, as it came.
    ///
    /// It is the whole body if that cannot be read as an envelope.
    pub fn bytes(&self) -> &Bytes {
        &self.message
    }

    /// Decodes the message part as a `T`.
    ///
    /// # Errors
    /// [`DecodeError`] if the message part is no `T`.
    pub fn decode<T: Message>(&self) -> Result<T, DecodeError> {
        decode_message(&self.message)
    }
}

/// A consumer without its type: one for each message type of an endpoint.
pub(crate) trait Handler: ChainEnd {
    /// Decodes the message part, once for each delivery.
    fn decode(&self, envelope: &Envelope) -> Result<Arc<AnyMessage>, DecodeError>;

    /// Returns the handler of a message that has failed for good, if it has one.
    fn after_failure(&self, error: &Arc<ConsumeError>) -> Option<Arc<dyn ChainEnd>>;
}

/// A consumer as it was registered on an endpoint.
#[derive(Clone)]
pub(crate) struct Registration {
    /// Contract that it consumes; `None` for a consumer of everything.
    pub(crate) contract: Option<&'static Contract>,
    pub(crate) type_id: std::any::TypeId,
    /// Types of the fault message when it fails.
    pub(crate) fault_types: Vec<MessageType>,
    pub(crate) consumer_type: &'static str,
    pub(crate) handler: Arc<dyn Handler>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consumes = self
            .contract
            .map(|contract| contract.message_type.qualified());
        f.debug_struct("Registration")
            .field("consumes", &consumes)
            .field("by", &self.consumer_type)
            .finish_non_exhaustive()
    }
}

struct Typed<M, C> {
    consumer: C,
    unit: Option<Arc<dyn UnitOfWork>>,
    batches: Option<BatchLimits>,
    failure_handler: Option<Arc<dyn FailureHandler<M>>>,
    message: PhantomData<fn(M)>,
}

impl Registration {
    pub(crate) fn of<M: Message, C: Consumer<M>>(consumer: C) -> Self {
        Self::typed::<M, C>(consumer, type_name::<C>(), None)
    }

    /// Registers a consumer that collects messages for the one of this type.
    pub(crate) fn collecting<M: Message, C: Consumer<M>>(
        collector: C,
        consumer_type: &'static str,
        batches: BatchLimits,
    ) -> Self {
        Self::typed::<M, C>(collector, consumer_type, Some(batches))
    }

    fn typed<M: Message, C: Consumer<M>>(
        consumer: C,
        consumer_type: &'static str,
        batches: Option<BatchLimits>,
    ) -> Self {
        let fault = <crate::error::Fault<M> as Message>::message_type();
        Self {
            contract: Some(Contract::of::<M>()),
            type_id: std::any::TypeId::of::<M>(),
            fault_types: [fault]
                .into_iter()
                .chain(crate::error::Fault::<M>::implements())
                .collect(),
            consumer_type,
            handler: Arc::new(Typed {
                unit: consumer.unit_of_work(),
                failure_handler: consumer.failure_handler(),
                consumer,
                batches,
                message: PhantomData,
            }),
        }
    }

    pub(crate) fn of_any<C: Consumer<RawMessage>>(consumer: C) -> Self {
        Self {
            contract: None,
            type_id: std::any::TypeId::of::<RawMessage>(),
            fault_types: Vec::new(),
            consumer_type: type_name::<C>(),
            handler: Arc::new(Untyped {
                unit: consumer.unit_of_work(),
                failure_handler: consumer.failure_handler(),
                consumer,
            }),
        }
    }

    /// Returns the unit of work for which what the consumer sends waits.
    pub(crate) fn unit_of_work(&self) -> Option<&dyn UnitOfWork> {
        self.handler.unit_of_work()
    }

    /// Returns the limits of the batches of its messages, if it has batches.
    pub(crate) fn batches(&self) -> Option<BatchLimits> {
        self.handler.batches()
    }
}

impl<M: Message, C: Consumer<M>> Handler for Typed<M, C> {
    fn decode(&self, envelope: &Envelope) -> Result<Arc<AnyMessage>, DecodeError> {
        Ok(Arc::new(decode_message::<M>(&envelope.message)?))
    }

    fn after_failure(&self, error: &Arc<ConsumeError>) -> Option<Arc<dyn ChainEnd>> {
        let handler = self.failure_handler.as_ref()?;
        AfterFailure::of(handler, error, self.unit.as_ref())
    }
}

impl<M: Message, C: Consumer<M>> ChainEnd for Typed<M, C> {
    fn call(&self, ctx: ConsumeContext) -> BoxFuture<'_, ConsumeResult> {
        run(&self.consumer, ctx)
    }

    fn unit_of_work(&self) -> Option<&dyn UnitOfWork> {
        self.unit.as_deref()
    }

    fn batches(&self) -> Option<BatchLimits> {
        self.batches
    }
}

struct Untyped<C> {
    consumer: C,
    unit: Option<Arc<dyn UnitOfWork>>,
    failure_handler: Option<Arc<dyn FailureHandler<RawMessage>>>,
}

impl<C: Consumer<RawMessage>> Handler for Untyped<C> {
    fn decode(&self, envelope: &Envelope) -> Result<Arc<AnyMessage>, DecodeError> {
        Ok(Arc::new(RawMessage::new(envelope.message.clone())))
    }

    fn after_failure(&self, error: &Arc<ConsumeError>) -> Option<Arc<dyn ChainEnd>> {
        let handler = self.failure_handler.as_ref()?;
        AfterFailure::of(handler, error, self.unit.as_ref())
    }
}

impl<C: Consumer<RawMessage>> ChainEnd for Untyped<C> {
    fn call(&self, ctx: ConsumeContext) -> BoxFuture<'_, ConsumeResult> {
        run(&self.consumer, ctx)
    }

    fn unit_of_work(&self) -> Option<&dyn UnitOfWork> {
        self.unit.as_deref()
    }
}

fn run<M: Send + Sync + 'static, C: Consumer<M>>(
    consumer: &C,
    ctx: ConsumeContext,
) -> BoxFuture<'_, ConsumeResult> {
    match typed(ctx) {
        Ok(ctx) => consumer.consume(ctx).boxed(),
        Err(error) => std::future::ready(Err(error)).boxed(),
    }
}

/// Returns `true` for raw JSON without a type.
///
/// Such a message goes to the only consumer of an endpoint, or to its consumer of everything.
pub(crate) fn is_untyped(codec: Codec, envelope: &Envelope) -> bool {
    codec == Codec::RawJson && envelope.message_types.is_empty()
}
