//! One message being consumed.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use uuid::Uuid;

use crate::address::{Address, InvalidAddress};
use crate::codec::Codec;
use crate::dispatch::{Dispatch, Held};
use crate::envelope::Envelope;
use crate::headers::{HeaderValue, Headers};
use crate::idempotency::Token;
use crate::message::Message;
use crate::outbound::{Origin, Outbound};
use crate::outgoing::{Draft, Intent};
use crate::reply::Reply;
use crate::request::{Requesting, Requests};
use crate::send_error::{SendError, SendErrorKind};
use crate::sending::Sending;
use crate::sent_ids::{SentIds, origin_id};
use crate::slots::Slot;
use crate::trace::TraceContext;
use crate::transport::Incoming;
use crate::troubles::Troubles;

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
    scope: Arc<Scope>,
    message: Arc<M>,
}

/// One delivery, as all its attempts see it.
pub(crate) struct Received {
    pub(crate) incoming: Incoming,
    pub(crate) envelope: Envelope,
    pub(crate) site: Arc<Site>,
    pub(crate) trace: TraceContext,
    /// What the successful attempt sent, until it is flushed.
    pub(crate) outbox: Held,
    /// Some of that has left, or may have.
    pub(crate) has_left: AtomicBool,
    /// The claim under which it is handled.
    pub(crate) token: OnceLock<Token>,
    /// The replies among them, where a duplicate may need them.
    pub(crate) replies: Held,
    pub(crate) attempts: AtomicU32,
    pub(crate) duplicate: AtomicBool,
    /// Its place among those that run.
    pub(crate) slot: Slot,
}

/// Where it is consumed: what all deliveries of an endpoint share.
pub(crate) struct Site {
    pub(crate) endpoint: String,
    pub(crate) address: Arc<str>,
    pub(crate) codec: Codec,
    /// A tap overhears: it must not answer the addresses of others.
    pub(crate) is_tap: bool,
    pub(crate) outbound: Arc<Outbound>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) cancelled: watch::Receiver<bool>,
    pub(crate) troubles: Arc<Troubles>,
}

/// One attempt: its number and its outbox.
struct Scope {
    received: Arc<Received>,
    attempt: u32,
    dispatch: Arc<dyn Dispatch>,
    sent_ids: SentIds,
}

impl ConsumeContext {
    pub(crate) fn new(received: Arc<Received>, message: Arc<AnyMessage>) -> Self {
        let dispatch = received.site.outbound.direct();
        Self {
            scope: Arc::new(Scope {
                received,
                attempt: 0,
                dispatch,
                sent_ids: SentIds::around(),
            }),
            message,
        }
    }

    /// The same message in its next attempt, with another place for what it sends.
    pub(crate) fn attempt_with(&self, attempt: u32, dispatch: Arc<dyn Dispatch>) -> Self {
        let received = Arc::clone(&self.scope.received);
        received.attempts.store(attempt, Ordering::Relaxed);
        Self {
            scope: Arc::new(Scope {
                received,
                attempt,
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
        let Self { scope, message } = self;
        match message.downcast::<M>() {
            Ok(message) => Ok(ConsumeContext { scope, message }),
            Err(message) => Err(Self { scope, message }),
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

    /// The endpoint's name.
    pub fn endpoint(&self) -> &str {
        &self.received().site.endpoint
    }

    /// Which attempt this is, from 1; 0 in middleware around all attempts.
    pub fn attempt(&self) -> u32 {
        self.scope.attempt
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
        let mut cancelled = self.received().site.cancelled.clone();
        // An error means that the endpoint itself is gone.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
    }

    /// Publishes an event to whoever subscribed to `E`.
    pub fn publish<E: Message>(&self, event: &E) -> Sending {
        self.sending(self.outbound().publish(event, Some(&self.origin())))
    }

    /// Sends a command to the address that the bus has a route to.
    pub fn send<C: Message>(&self, command: &C) -> Sending {
        let draft = self.outbound().route::<C>().and_then(|address| {
            self.outbound()
                .send_to(Ok(address), command, Some(&self.origin()))
        });
        self.sending(draft)
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

    fn response<D: Message>(&self, document: &D) -> Result<Draft, SendError> {
        if self.received().site.is_tap {
            let reason = format!(
                "endpoint `{}` taps another one and must not answer its requests",
                self.endpoint()
            );
            return Err(SendError::new(SendErrorKind::Unsupported, reason));
        }
        let envelope = self.envelope();
        let mut draft = self.outbound().publish(document, Some(&self.origin()))?;
        draft.intent = Intent::Respond;
        draft.envelope.request_id = envelope.request_id;
        if let Some(text) = &envelope.response_address {
            address_reply(&mut draft, text, envelope, self.outbound())?;
        }
        Ok(draft)
    }

    /// Asks another service. Goes at once, past the outbox, as its answer is awaited here.
    pub fn request<R: Reply>(&self, query: &impl Message) -> Requesting<R> {
        let outbound = self.outbound();
        let draft = request_draft(outbound, query, Some(&self.origin()));
        Requesting::new(
            self.with_derived_id(draft),
            Arc::clone(outbound),
            Arc::clone(&self.received().site.requests),
        )
    }

    pub(crate) fn received(&self) -> &Arc<Received> {
        &self.scope.received
    }

    pub(crate) fn shared_message(&self) -> &Arc<M> {
        &self.message
    }

    fn outbound(&self) -> &Arc<Outbound> {
        &self.received().site.outbound
    }

    fn origin(&self) -> Origin<'_> {
        self.received().origin()
    }

    /// Gives a draft the id that it has whenever this message is handled again.
    fn with_derived_id(&self, draft: Result<Draft, SendError>) -> Result<Draft, SendError> {
        let mut draft = draft?;
        let received = self.received();
        let origin = origin_id(&received.envelope, &received.incoming);
        if let (Some(origin), Some(urn)) = (origin, draft.envelope.message_types.first()) {
            let urn = urn.clone();
            let id = self.scope.sent_ids.next(origin, self.endpoint(), urn);
            draft.envelope.message_id = Some(id);
        }
        Ok(draft)
    }

    fn sending(&self, draft: Result<Draft, SendError>) -> Sending {
        Sending::new(
            self.with_derived_id(draft),
            Arc::clone(self.outbound()),
            Arc::clone(&self.scope.dispatch),
        )
    }
}

impl Received {
    /// Notes that the message was handled before and is not handled again.
    pub(crate) fn mark_duplicate(&self) {
        self.duplicate.store(true, Ordering::Relaxed);
    }

    /// Notes the claim under which the message is handled.
    pub(crate) fn claimed(&self, token: Token) {
        // A delivery goes through one idempotency step.
        let _ = self.token.set(token);
    }

    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            envelope: &self.envelope,
            address: &self.site.address,
            trace: &self.trace,
            priority: self.incoming.priority,
            codec: self.site.codec,
        }
    }
}

/// A request goes where the bus has a route to, else to whoever subscribed.
pub(crate) fn request_draft<Q: Message>(
    outbound: &Outbound,
    query: &Q,
    origin: Option<&Origin<'_>>,
) -> Result<Draft, SendError> {
    match outbound.route::<Q>() {
        Ok(address) => outbound.send_to(Ok(address), query, origin),
        Err(_) => outbound.publish(query, origin),
    }
}

/// Turns a draft into a reply to an address that came with a message: it creates nothing, and lives no longer than
/// the requester waits.
pub(crate) fn address_reply(
    draft: &mut Draft,
    address: &Arc<str>,
    request: &Envelope,
    outbound: &Outbound,
) -> Result<(), SendError> {
    let parsed: Address = address.parse().map_err(|error: InvalidAddress| {
        SendError::new(SendErrorKind::NoRoute, error.to_string()).with_source(error)
    })?;
    outbound.may_reply_to(&parsed)?;
    draft.target = parsed.reply_target();
    draft.mandatory = true;
    draft.routing_key = "".into();
    draft.envelope.destination_address = Some(Arc::clone(address));
    draft.ttl = request.expiration_time.map(|until| {
        let left = until
            .duration_since(std::time::SystemTime::now())
            .unwrap_or_default();
        left.max(std::time::Duration::from_secs(1))
    });
    Ok(())
}

impl<M: ?Sized> Clone for ConsumeContext<M> {
    fn clone(&self) -> Self {
        Self {
            scope: Arc::clone(&self.scope),
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

impl<M: ?Sized> ConsumeContext<M> {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.headers().get(name)
    }
}
