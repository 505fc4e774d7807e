//! One message being consumed.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::receive_context::ReceiveContext;
use crate::error::{SendError, SendErrorKind};
use crate::message::{Envelope, HeaderValue, Headers, Intent, Message, TraceContext};
use crate::request::{Reply, Requesting};
use crate::send::reply::address_reply;
use crate::send::sent_ids::origin_id;
use crate::send::{Dispatch, Origin, Outbound, SendContext, Sending, SentIds};
use crate::transport::{Address, Incoming, InvalidAddress};

/// A message whose type is not known: what middleware sees.
pub type AnyMessage = dyn Any + Send + Sync;

/// One message being consumed: the message, its metadata, and the way to send what it causes.
///
/// What is published, sent or responded through the context carries the conversation on, and is held back until the
/// consumer succeeds. Its ids are derived from the message's id, the endpoint, the type and the number of the call, so
/// that a message that is handled again sends the same ids: consumers that know ids handle them once. Calls that run
/// beside each other are numbered as they come; where their order may differ from run to run, give ids of your own. A [`Bus`](crate::Bus) handle kept in a consumer sends at once, outside of the conversation.
///
/// Cheap to clone. Typed for consumers, [`AnyMessage`] for middleware.
pub struct ConsumeContext<M: ?Sized = AnyMessage> {
    attempt: Arc<Attempt>,
    message: Arc<M>,
}

/// One attempt: its number and its outbox.
struct Attempt {
    received: Arc<ReceiveContext>,
    number: u32,
    dispatch: Arc<dyn Dispatch>,
    sent_ids: SentIds,
}

impl ConsumeContext {
    pub(crate) fn new(received: Arc<ReceiveContext>, message: Arc<AnyMessage>) -> Self {
        let dispatch = received.endpoint.outbound.direct();
        Self {
            attempt: Arc::new(Attempt {
                received,
                number: 0,
                dispatch,
                sent_ids: SentIds::around(),
            }),
            message,
        }
    }

    /// The same message in its next attempt, with another place for what it sends.
    pub(crate) fn attempt_with(&self, attempt: u32, dispatch: Arc<dyn Dispatch>) -> Self {
        let received = Arc::clone(&self.attempt.received);
        received.progress.begin_attempt(attempt);
        Self {
            attempt: Arc::new(Attempt {
                received,
                number: attempt,
                dispatch,
                sent_ids: SentIds::default(),
            }),
            message: Arc::clone(&self.message),
        }
    }

    /// The context of a consumer of `M`; gives `self` back if the message is of another type.
    ///
    /// # Errors
    /// The erased context, unchanged.
    pub fn downcast<M: Send + Sync + 'static>(self) -> Result<ConsumeContext<M>, Self> {
        let Self { attempt, message } = self;
        match message.downcast::<M>() {
            Ok(message) => Ok(ConsumeContext { attempt, message }),
            Err(message) => Err(Self { attempt, message }),
        }
    }
}

impl<M: ?Sized> ConsumeContext<M> {
    /// The message.
    pub fn message(&self) -> &M {
        &self.message
    }

    /// All metadata that came with the message.
    pub fn envelope(&self) -> &Envelope {
        &self.received().envelope
    }

    /// The delivery as the transport gave it: body, transport headers, exchange, routing key.
    pub fn incoming(&self) -> &Incoming {
        &self.received().incoming
    }

    /// The id of the message; the same at every attempt and redelivery.
    pub fn message_id(&self) -> Option<Uuid> {
        self.envelope().message_id
    }

    /// The correlation id.
    pub fn correlation_id(&self) -> Option<Uuid> {
        self.envelope().correlation_id
    }

    /// The conversation id.
    pub fn conversation_id(&self) -> Option<Uuid> {
        self.envelope().conversation_id
    }

    /// The headers of the message.
    pub fn headers(&self) -> &Headers {
        &self.envelope().headers
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.headers().get(name)
    }

    /// The endpoint's name.
    pub fn endpoint(&self) -> &str {
        &self.received().endpoint.name
    }

    /// Which attempt this is, from 1; 0 in middleware around all attempts.
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// Whether the broker has delivered the message before: somebody may have handled it already.
    pub fn redelivered(&self) -> bool {
        self.incoming().redelivered
    }

    /// The trace in which the message is consumed.
    pub fn trace(&self) -> &TraceContext {
        &self.received().trace
    }

    /// Resolves when the endpoint gives up waiting for running consumers: its stop timeout has passed. What the
    /// consumer does after that may be done again by whoever gets the message next.
    ///
    /// An error after that is no failure of the message: it goes back to its queue, without a fault, unless the error
    /// is permanent.
    pub async fn cancelled(&self) {
        let mut cancelled = self.received().endpoint.cancelled.clone();
        // An error means that the endpoint itself is gone.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    }

    /// Publishes an event to whoever subscribed to `E`.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.sending(self.outbound().publish(event, Some(&self.origin())))
    }

    /// Sends a command to the address that the bus has a route to.
    pub fn send<C: Message>(&self, command: &C) -> Sending {
        let context = self.outbound().route::<C>().and_then(|address| {
            self.outbound()
                .send_to(Ok(address), command, Some(&self.origin()))
        });
        self.sending(context)
    }

    /// Sends a command to an address: `queue:name`, `exchange:name` or a full one.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &self,
        address: A,
        command: &C,
    ) -> Sending {
        self.sending(self.outbound().send_to(
            address.try_into().map_err(Into::into),
            command,
            Some(&self.origin()),
        ))
    }

    /// Answers a request. A message that names no response address has its answer published, as MassTransit does.
    ///
    /// A requester who is gone by then costs nothing: the answer is dropped.
    pub fn respond<D: Message>(&self, document: &D) -> Sending {
        self.sending(self.response(document))
    }

    fn response<D: Message>(&self, document: &D) -> Result<SendContext, SendError> {
        if self.received().endpoint.is_tap {
            let reason = format!(
                "endpoint `{}` taps another one and must not answer its requests",
                self.endpoint()
            );
            return Err(SendError::new(SendErrorKind::Unsupported, reason));
        }
        let envelope = self.envelope();
        let mut context = self.outbound().publish(document, Some(&self.origin()))?;
        context.intent = Intent::Respond;
        context.envelope.request_id = envelope.request_id;
        if let Some(text) = &envelope.response_address {
            address_reply(&mut context, text, envelope, self.outbound())?;
        }
        Ok(context)
    }

    /// Asks another service. Goes at once, past the outbox, as its answer is awaited here.
    pub fn request<R: Reply>(&self, query: &impl Message) -> Requesting<R> {
        let outbound = self.outbound();
        let context = outbound.request(query, Some(&self.origin()));
        Requesting::new(
            self.with_derived_id(context),
            Arc::clone(outbound),
            Arc::clone(&self.received().endpoint.requests),
        )
    }

    pub(crate) fn received(&self) -> &Arc<ReceiveContext> {
        &self.attempt.received
    }

    pub(crate) fn shared_message(&self) -> &Arc<M> {
        &self.message
    }

    fn outbound(&self) -> &Arc<Outbound> {
        &self.received().endpoint.outbound
    }

    fn origin(&self) -> Origin<'_> {
        self.received().origin()
    }

    /// Gives a send context the id that it has whenever this message is handled again.
    fn with_derived_id(
        &self,
        context: Result<SendContext, SendError>,
    ) -> Result<SendContext, SendError> {
        let mut context = context?;
        let received = self.received();
        let origin = origin_id(&received.envelope, &received.incoming);
        if let (Some(origin), Some(urn)) = (origin, context.envelope.message_types.first()) {
            let urn = urn.clone();
            let id = self.attempt.sent_ids.next(origin, self.endpoint(), urn);
            context.envelope.message_id = Some(id);
        }
        Ok(context)
    }

    fn sending(&self, context: Result<SendContext, SendError>) -> Sending {
        Sending::new(
            self.with_derived_id(context),
            Arc::clone(self.outbound()),
            Arc::clone(&self.attempt.dispatch),
        )
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
