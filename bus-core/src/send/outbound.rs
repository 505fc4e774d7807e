//! Steps from a contract to an outgoing message: ids, addresses, headers, encoding.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::RecvError;
use uuid::Uuid;

use super::context::SendContext;
use super::dispatch::{Direct, Dispatch};
use super::due::Due;
use super::filter::SendFilter;
use super::origin::Origin;
use super::published::{PublishTarget, Published};
use super::scheduled::Scheduled;
use super::scheduler::Scheduler;
use super::sealed::SealedMessage;
use crate::codec::{Codec, HostInfo, encode_message};
use crate::error::panics::caught;
use crate::error::{SendError, SendErrorKind};
use crate::message::{Contract, Envelope, Headers, Intent, MAX_HEADERS, Message};
use crate::observe::propagator::inject;
use crate::observe::{Observers, Propagator};
use crate::topology::PublishTopologies;
use crate::transport::{
    Address, Capability, InvalidAddress, Outgoing, ScheduleToken, Target, Transport,
};

/// State that all senders of a bus share.
pub(crate) struct Outbound {
    pub(crate) transport: Arc<dyn Transport>,
    direct: Arc<Direct>,
    scheduled: Option<Arc<Scheduled>>,
    pub(crate) base: String,
    pub(crate) topologies: PublishTopologies,
    pub(crate) observers: Observers,
    settings: OutboundSettings,
    published: Published,
}

/// Settings of the bus builder for sending.
pub(crate) struct OutboundSettings {
    pub(crate) source: Arc<str>,
    pub(crate) codec: Codec,
    pub(crate) deadline: Duration,
    pub(crate) routes: HashMap<TypeId, Address>,
    pub(crate) filters: Vec<Arc<dyn SendFilter>>,
    pub(crate) reply_addresses: Option<Arc<ReplyAddresses>>,
    pub(crate) propagator: Arc<dyn Propagator>,
    pub(crate) scheduler: Option<Arc<dyn Scheduler>>,
}

/// Predicate on addresses that came with messages: may replies and faults go there.
pub(crate) type ReplyAddresses = dyn Fn(&Address) -> bool + Send + Sync;

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Outbound {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        topologies: PublishTopologies,
        observers: Observers,
        mut settings: OutboundSettings,
    ) -> Self {
        let base = transport.base_address();
        let direct = Arc::new(Direct::new(Arc::clone(&transport), observers.clone()));
        let keeping = |scheduler| Arc::new(Scheduled::new(Arc::clone(&direct), scheduler));
        let scheduled = settings.scheduler.take().map(keeping);
        Self {
            transport,
            direct,
            scheduled,
            base,
            topologies,
            observers,
            settings,
            published: Published::default(),
        }
    }

    /// The address of this process, for what is sent outside of a consumer.
    pub(crate) fn source(&self) -> &str {
        &self.settings.source
    }

    /// The dispatch past every outbox.
    pub(crate) fn direct(&self) -> Arc<dyn Dispatch> {
        match &self.scheduled {
            Some(scheduled) => Arc::clone(scheduled) as Arc<dyn Dispatch>,
            None => Arc::clone(&self.direct) as Arc<dyn Dispatch>,
        }
    }

    /// Cancels the messages with this token that are not due yet.
    pub(crate) async fn cancel(&self, token: ScheduleToken) -> Result<bool, SendError> {
        match &self.scheduled {
            Some(scheduled) => scheduled.cancel(token).await,
            None => Ok(self.transport.cancel(token).await?),
        }
    }

    /// Sends a request at once; returns its answer if that comes before the confirm.
    pub(crate) async fn ask<T>(
        &self,
        sealed: SealedMessage,
        answer: &mut oneshot::Receiver<T>,
    ) -> Result<Option<Result<T, RecvError>>, SendError> {
        self.direct.ask(sealed, answer).await
    }

    /// The propagator of the trace that travels.
    pub(crate) fn propagator(&self) -> &dyn Propagator {
        &*self.settings.propagator
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    /// Refuses an address that came with a message and is not allowed for answers.
    pub(crate) fn may_reply_to(&self, address: &Address) -> Result<(), SendError> {
        match &self.settings.reply_addresses {
            Some(allows) if !allows(address) => Err(SendError::new(
                SendErrorKind::Refused,
                format!(
                    "the message names `{address}` for its answer, which reply_addresses does not allow"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// A send context to all subscribers of `M`.
    pub(crate) fn publish<M: Message>(
        &self,
        message: &M,
        origin: Option<&Origin<'_>>,
    ) -> Result<SendContext, SendError> {
        let mut context = self.context(message, Intent::Publish, origin)?;
        let published = self.publish_target::<M>()?;
        context.envelope.destination_address = Some(published.address);
        context.target = published.target;
        if let Some(key_of) = published.key {
            context.routing_key = Cow::Owned(key_of(message as &(dyn Any + Send + Sync)));
        }
        Ok(context)
    }

    /// A send context to one address.
    pub(crate) fn send_to<M: Message>(
        &self,
        address: Result<Address, InvalidAddress>,
        message: &M,
        origin: Option<&Origin<'_>>,
    ) -> Result<SendContext, SendError> {
        let address = address.map_err(|error| {
            SendError::new(SendErrorKind::NoRoute, error.to_string()).with_source(error)
        })?;
        let mut context = self.context(message, Intent::Send, origin)?;
        context.mandatory = matches!(address.target(), Target::Queue(_) | Target::Inbox(_));
        context.envelope.destination_address = Some(address.to_uri(&self.base).into());
        context.target = address.target();
        Ok(context)
    }

    /// A send context of a request: to the route of `Q`, else published.
    pub(crate) fn request<Q: Message>(
        &self,
        query: &Q,
        origin: Option<&Origin<'_>>,
    ) -> Result<SendContext, SendError> {
        match self.route::<Q>() {
            Ok(address) => self.send_to(Ok(address), query, origin),
            Err(_) => self.publish(query, origin),
        }
    }

    /// The address that was configured for `M`.
    pub(crate) fn route<M: Message>(&self) -> Result<Address, SendError> {
        self.settings.routes.get(&TypeId::of::<M>()).cloned().ok_or_else(|| {
            let name = Contract::of::<M>().message_type.qualified();
            let advice = "name the queue with .route::<M>(\"queue:name\") on the bus builder, or use send_to";
            SendError::new(SendErrorKind::NoRoute, format!("no route for {name}: {advice}"))
        })
    }

    fn context<M: Message>(
        &self,
        message: &M,
        intent: Intent,
        origin: Option<&Origin<'_>>,
    ) -> Result<SendContext, SendError> {
        let contract = Contract::of::<M>();
        let encoded = encode_message(message).map_err(|error| {
            SendError::new(
                SendErrorKind::Encode,
                format!("{} cannot be encoded: {error}", contract.message_type),
            )
            .with_source(error)
        })?;
        let mut context = self.context_of(Cow::Borrowed(&contract.urns), encoded, intent);
        context.envelope.correlation_id = message.correlation_id().filter(|id| !id.is_nil());
        if let Some(origin) = origin {
            origin.apply(&mut context);
        } else {
            context.envelope.conversation_id = Some(Uuid::now_v7());
            inject(self.propagator(), None, &mut context.envelope.headers);
        }
        Ok(context)
    }

    /// A send context of an encoded message part.
    /// It has a fresh message id and takes nothing from an origin.
    pub(crate) fn context_of(
        &self,
        message_types: Cow<'static, [Cow<'static, str>]>,
        message: bytes::Bytes,
        intent: Intent,
    ) -> SendContext {
        let envelope = Envelope {
            message_id: Some(Uuid::now_v7()),
            source_address: Some(Arc::clone(&self.settings.source)),
            message_types,
            message,
            sent_time: Some(SystemTime::now()),
            host: Some(HostInfo::current_json().clone()),
            ..Envelope::default()
        };
        SendContext {
            envelope,
            target: Target::Queue(Cow::Borrowed("")),
            intent,
            routing_key: Cow::Borrowed(""),
            codec: self.settings.codec,
            ttl: None,
            priority: None,
            durable: true,
            mandatory: false,
            due: None,
            schedule_token: None,
            ordering_key: None,
            deadline: self.settings.deadline,
        }
    }

    fn publish_target<M: Message>(&self) -> Result<PublishTarget, SendError> {
        self.published.get_or_make(TypeId::of::<M>(), || {
            let contract = Contract::of::<M>();
            PublishTarget::new(contract, &self.topologies, &*self.transport, &self.base)
        })
    }

    /// Runs the filters and encodes the message.
    pub(crate) fn pack(&self, context: SendContext) -> Result<SealedMessage, SendError> {
        self.seal(false, context)
    }

    /// Does the same for a message that goes through `dispatch`.
    pub(crate) fn pack_for(
        &self,
        dispatch: &dyn Dispatch,
        context: SendContext,
    ) -> Result<SealedMessage, SendError> {
        self.seal(
            dispatch.keeps_until_due() || self.scheduled.is_some(),
            context,
        )
    }

    /// Seals a message; `kept` if it reaches the transport only when it is due.
    fn seal(&self, kept: bool, mut context: SendContext) -> Result<SealedMessage, SendError> {
        for filter in &self.settings.filters {
            caught(|| filter.prepare(&mut context)).unwrap_or_else(|panic| {
                let text = format!("a filter for outgoing messages panicked: {panic}");
                Err(SendError::new(SendErrorKind::Refused, text))
            })?;
        }
        context.ttl = context.ttl.filter(|ttl| *ttl != Duration::MAX);
        self.check_capabilities(kept, &context)?;
        if let Some(ttl) = context.ttl {
            context.envelope.expiration_time = context
                .envelope
                .sent_time
                .and_then(|sent| sent.checked_add(ttl));
        }
        // For the transport's check; counted anew when the message is handed over.
        let due_here = context.due.filter(|_| !kept);
        let encoded = context.codec.encode(&context.envelope);
        check_headers(&context, &encoded.headers)?;
        let outgoing = Outgoing {
            routing_key: context.routing_key,
            content_type: Some(Cow::Borrowed(context.codec.content_type())),
            message_id: context.envelope.message_id.map(text),
            correlation_id: context.envelope.correlation_id.map(text),
            headers: encoded.headers,
            ttl: context.ttl,
            priority: context.priority,
            durable: context.durable,
            mandatory: context.mandatory,
            deliver_at: due_here.and_then(Due::instant),
            schedule_token: context.schedule_token,
            ordering_key: context.ordering_key,
            ..Outgoing::new(context.target, encoded.body)
        };
        Ok(SealedMessage {
            outgoing,
            envelope: context.envelope,
            intent: context.intent,
            deadline: context.deadline,
            due: context.due,
        })
    }

    /// Refuses a message that needs more than the transport claims.
    fn check_capabilities(&self, kept: bool, context: &SendContext) -> Result<(), SendError> {
        let due = context.due.filter(|_| !kept);
        let due = due.map(|_| Capability::DelayedDelivery);
        let token = context.schedule_token.filter(|_| !kept);
        let token = token.map(|_| Capability::CancelScheduled);
        let ttl = context.ttl.map(|_| Capability::MessageTtl);
        let mut needs = [due, token, ttl].into_iter().flatten().peekable();
        if needs.peek().is_none() {
            return Ok(());
        }
        let claimed = self.transport.capabilities();
        let Some(missing) = needs.find(|need| !claimed.has(*need)) else {
            return Ok(());
        };
        let target = context.target.name();
        let advice = match missing {
            Capability::DelayedDelivery | Capability::CancelScheduled => {
                "; set a scheduler on the bus"
            }
            _ => "",
        };
        let text = format!(
            "the message to `{target}` needs {missing}, which this transport has not{advice}"
        );
        Err(SendError::new(SendErrorKind::Unsupported, text))
    }
}

/// Refuses a message with more headers than any receiver reads.
fn check_headers(context: &SendContext, beside: &Headers) -> Result<(), SendError> {
    let count = context.envelope.headers.len().max(beside.len());
    if count <= MAX_HEADERS {
        return Ok(());
    }
    let target = context.target.name();
    let text = format!(
        "the message to `{target}` has {count} headers; more than {MAX_HEADERS} are not read"
    );
    Err(SendError::new(SendErrorKind::Refused, text))
}

/// The id as `to_string` gives it, without the formatting machinery.
fn text(id: Uuid) -> String {
    let mut buffer = Uuid::encode_buffer();
    id.hyphenated().encode_lower(&mut buffer).to_owned()
}
