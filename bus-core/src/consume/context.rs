//! The context of one message being consumed.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::control::EndpointControl;
use super::extensions::Extensions;
use super::receive_context::ReceiveContext;
use super::redeliveries;
use crate::error::{ConsumeError, ConsumeResult};
use crate::message::{Envelope, HeaderValue, Headers, TraceContext};
use crate::send::{Dispatch, SentIds};
use crate::transport::Incoming;

/// A message whose type is not known, as middleware sees it.
pub type AnyMessage = dyn Any + Send + Sync;

/// One message being consumed, its metadata, and the means to send what it causes.
///
/// Messages that are published, sent or responded through the context carry the conversation on,
/// and are held back until the consumer succeeds. Their ids are derived from the message's id, the
/// endpoint, the type and the number of the call, so that a message that is handled again sends the
/// same ids: consumers that deduplicate by id handle them once. Concurrent calls are numbered as
/// they come; set ids of your own if their order may differ from run to run. A [`Bus`](crate::Bus)
/// handle kept in a consumer sends at once, outside of the conversation.
///
/// Cheap to clone. Typed for consumers, [`AnyMessage`] for middleware.
///
/// ```
/// use bus_core::{ConsumeContext, Endpoint, Message, SendError, queue};
/// use bus_inmemory::Harness;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
/// # #[derive(Debug, Serialize, Deserialize, Message)]
/// # #[message("Invoicing:InvoiceCreated")]
/// # struct InvoiceCreated { number: String, tenant: Option<String> }
///
/// async fn create(ctx: ConsumeContext<CreateInvoice>) -> Result<(), SendError> {
///     let number = ctx.message().number.clone();
///     let tenant = ctx.headers().text("Tenant").map(str::to_owned);
///     ctx.publish(&InvoiceCreated { number, tenant }).await // held until the consumer succeeds
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let harness = Harness::start(|bus| bus.endpoint(Endpoint::new("invoices").consumer(create))).await?;
/// let command = CreateInvoice { number: "A-7".into() };
/// harness.send_to(queue("invoices"), &command).header("Tenant", "north").await?;
/// harness.quiescent().await;
/// assert_eq!(harness.published::<InvoiceCreated>().only().tenant.as_deref(), Some("north"));
/// # harness.shutdown().await?;
/// # Ok(()) }
/// ```
pub struct ConsumeContext<M: ?Sized = AnyMessage> {
    attempt: Arc<Attempt>,
    message: Arc<M>,
}

/// One attempt: its number, its outbox and what middleware added.
struct Attempt {
    received: Arc<ReceiveContext>,
    number: u32,
    dispatch: Arc<dyn Dispatch>,
    extensions: Extensions,
    sent_ids: SentIds,
    /// The same attempt outside of a middleware, which counts the ids for both.
    outer: Option<Arc<Attempt>>,
}

impl Attempt {
    fn sent_ids(&self) -> &SentIds {
        match &self.outer {
            Some(outer) => outer.sent_ids(),
            None => &self.sent_ids,
        }
    }
}

impl ConsumeContext {
    pub(crate) fn new(received: Arc<ReceiveContext>, message: Arc<AnyMessage>) -> Self {
        let dispatch = received.endpoint.outbound.direct();
        Self {
            attempt: Arc::new(Attempt {
                received,
                number: 0,
                dispatch,
                extensions: Extensions::default(),
                sent_ids: SentIds::around(),
                outer: None,
            }),
            message,
        }
    }

    /// Creates the context of the next attempt, which sends through `dispatch`.
    pub(crate) fn attempt_with(&self, attempt: u32, dispatch: Arc<dyn Dispatch>) -> Self {
        let received = Arc::clone(&self.attempt.received);
        received.progress.begin_attempt(attempt);
        Self {
            attempt: Arc::new(Attempt {
                received,
                number: attempt,
                dispatch,
                extensions: self.attempt.extensions.clone(),
                sent_ids: SentIds::default(),
                outer: None,
            }),
            message: Arc::clone(&self.message),
        }
    }

    /// Returns the context that a consumer of `M` gets.
    ///
    /// # Errors
    /// The erased context, unchanged, if the message is of another type.
    pub fn downcast<M: Send + Sync + 'static>(self) -> Result<ConsumeContext<M>, Self> {
        let Self { attempt, message } = self;
        match message.downcast::<M>() {
            Ok(message) => Ok(ConsumeContext { attempt, message }),
            Err(message) => Err(Self { attempt, message }),
        }
    }
}

impl<M: Send + Sync + 'static> ConsumeContext<M> {
    /// Returns this context without the type of its message.
    ///
    /// For code that handles messages of several types by one function.
    /// [`downcast`](ConsumeContext::downcast) gives the type back.
    pub fn erase(self) -> ConsumeContext {
        ConsumeContext {
            attempt: self.attempt,
            message: self.message,
        }
    }
}

impl<M: ?Sized> ConsumeContext<M> {
    /// Returns the decoded message.
    pub fn message(&self) -> &M {
        &self.message
    }

    /// Returns all metadata that came with the message.
    ///
    /// It is empty if the delivery could not be read.
    pub fn envelope(&self) -> &Envelope {
        &self.received().envelope
    }

    /// Returns the delivery as the transport gave it.
    ///
    /// It holds body, transport headers, exchange and routing key.
    pub fn incoming(&self) -> &Incoming {
        &self.received().incoming
    }

    /// Returns the id of the message; the same at every attempt and redelivery.
    pub fn message_id(&self) -> Option<Uuid> {
        self.envelope().message_id
    }

    /// Returns the correlation id of the message.
    pub fn correlation_id(&self) -> Option<Uuid> {
        self.envelope().correlation_id
    }

    /// Returns the conversation id of the message.
    pub fn conversation_id(&self) -> Option<Uuid> {
        self.envelope().conversation_id
    }

    /// Returns the headers of the message.
    pub fn headers(&self) -> &Headers {
        &self.envelope().headers
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.headers().get(name)
    }

    /// Returns the name of the endpoint.
    pub fn endpoint(&self) -> &str {
        &self.received().endpoint.name
    }

    /// Returns the control of the endpoint: pauses and limits.
    ///
    /// Its calls never wait, so that a consumer may pause the endpoint that it runs on.
    pub fn endpoint_control(&self) -> EndpointControl {
        EndpointControl::new(Arc::clone(&self.received().endpoint.control))
    }

    /// Returns the number of the attempt, from 1.
    ///
    /// It is 0 in middleware around all attempts. An attempt that runs again, as something was away
    /// or it met a [conflict](crate::error::FailureKind::Conflict), keeps its number.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// Returns `true` if the broker has delivered the message before.
    ///
    /// The earlier delivery may have been handled already.
    pub fn redelivered(&self) -> bool {
        self.incoming().redelivered
    }

    /// Returns the number of times that the message came again later.
    ///
    /// By [`Policy::redelivery`](crate::Policy::redelivery), by [`defer`](Self::defer), or by a
    /// MassTransit service. What the broker redelivers is not counted.
    pub fn redelivery_count(&self) -> u32 {
        redeliveries::total(self.envelope(), self.incoming())
    }

    /// Defers the message: it comes again after this time, and has not failed.
    ///
    /// To be returned by the consumer. Its attempt ends without a retry and without a fault; what
    /// it has sent is thrown away, and other messages are consumed meanwhile. A message may be
    /// deferred any number of times, which [`redelivery_count`](Self::redelivery_count) includes.
    /// On a transport without [`DelayedDelivery`](crate::transport::Capability::DelayedDelivery) it
    /// fails.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use bus_core::{ConsumeContext, ConsumeResult, Message};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:CollectPayment")]
    /// # struct CollectPayment { bank_is_open: bool }
    /// async fn collect(ctx: ConsumeContext<CollectPayment>) -> ConsumeResult {
    ///     if !ctx.message().bank_is_open {
    ///         return ctx.defer(Duration::from_secs(3600));
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = collect;
    /// ```
    pub fn defer(&self, wait: Duration) -> ConsumeResult {
        Err(ConsumeError::deferred(wait))
    }

    /// Returns the trace in which the message is consumed.
    pub fn trace(&self) -> &TraceContext {
        &self.received().trace
    }

    /// Resolves when the endpoint gives up waiting for running consumers.
    ///
    /// This is so when its stop timeout has passed. Work that the consumer does after that may be
    /// repeated by the next consumer of the message.
    ///
    /// An error after that is no failure of the message: it goes back to its queue, without a
    /// fault, unless the error is permanent or a panic.
    pub async fn cancelled(&self) {
        let mut cancelled = self.received().endpoint.cancelled.clone();
        // An error means that the endpoint itself is gone.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    }

    /// Returns the value of type `T` that middleware has added.
    pub fn extension<T: Any>(&self) -> Option<&T> {
        self.attempt.extensions.get()
    }

    /// Returns this context with a value for what runs inside.
    ///
    /// It replaces another value of its type. Each context that is made from this one has it, those
    /// of all attempts included.
    ///
    /// ```
    /// use bus_core::{ConsumeContext, ConsumeResult, Middleware, Next, async_trait};
    ///
    /// struct Tenant(String);
    /// struct ReadTenant;
    ///
    /// #[async_trait]
    /// impl Middleware for ReadTenant {
    ///     async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
    ///         let name = ctx.header("Tenant").and_then(|name| name.as_str());
    ///         let tenant = Tenant(name.unwrap_or("none").to_owned());
    ///         next.run(ctx.with_extension(tenant)).await
    ///     }
    /// }
    ///
    /// async fn consume<M>(ctx: ConsumeContext<M>) -> ConsumeResult {
    ///     let Tenant(name) = ctx.extension().ok_or("ReadTenant is missing")?;
    ///     println!("for {name}");
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn with_extension<T: Any + Send + Sync>(&self, value: T) -> Self {
        let extensions = self.attempt.extensions.with(value);
        self.inner(Arc::clone(&self.attempt.dispatch), extensions)
    }

    /// Returns the receiver of what is sent through this context.
    pub fn dispatch(&self) -> Arc<dyn Dispatch> {
        Arc::clone(&self.attempt.dispatch)
    }

    /// Returns this context with another receiver of what is sent through it.
    ///
    /// For middleware around an attempt, and [`Work`](super::Work) that takes each message at once.
    /// Ids are derived as without it. Around all attempts it has no effect on them, as each attempt
    /// has an outbox of its own.
    #[must_use]
    pub fn with_dispatch(&self, dispatch: Arc<dyn Dispatch>) -> Self {
        self.inner(dispatch, self.attempt.extensions.clone())
    }

    /// Returns the context of the same attempt inside of a middleware.
    fn inner(&self, dispatch: Arc<dyn Dispatch>, extensions: Extensions) -> Self {
        Self {
            attempt: Arc::new(Attempt {
                received: Arc::clone(&self.attempt.received),
                number: self.attempt.number,
                dispatch,
                extensions,
                sent_ids: SentIds::default(),
                outer: Some(Arc::clone(&self.attempt)),
            }),
            message: Arc::clone(&self.message),
        }
    }

    pub(crate) fn received(&self) -> &Arc<ReceiveContext> {
        &self.attempt.received
    }

    pub(crate) fn shared_message(&self) -> &Arc<M> {
        &self.message
    }

    /// Returns the id of the next message of a type that this message causes.
    pub(super) fn next_id(&self, origin: Uuid, urn: Cow<'static, str>) -> Uuid {
        self.attempt.sent_ids().next(origin, self.endpoint(), urn)
    }
}

impl<M: ?Sized> Clone for ConsumeContext<M> {
    fn clone(&self) -> Self {
        Self {
            attempt: Arc::clone(&self.attempt),
            message: Arc::clone(&self.message),
        }
    }
}

impl<M: ?Sized> fmt::Debug for ConsumeContext<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumeContext")
            .field("endpoint", &self.endpoint())
            .field("message_id", &self.message_id())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
