//! From a message to a parcel: ids, addresses, headers, encoding.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::address::{Address, InvalidAddress};
use crate::codec::{Codec, encode_message};
use crate::dispatch::{Direct, Dispatch};
use crate::envelope::Envelope;
use crate::host::HostInfo;
use crate::idempotency::KEY_HEADER;
use crate::ids::Ids;
use crate::message::{Contract, Message};
use crate::observer::Observers;
use crate::outgoing::{Draft, Intent, OutgoingHook, Parcel};
use crate::panics::caught;
use crate::publish_topology::PublishTopologies;
use crate::send_error::{SendError, SendErrorKind};
use crate::trace::TraceContext;
use crate::transport::{Outgoing, Target, Transport};

/// What every sender of a bus shares.
pub(crate) struct Outbound {
    pub(crate) transport: Arc<dyn Transport>,
    direct: Arc<dyn Dispatch>,
    pub(crate) base: String,
    pub(crate) topologies: PublishTopologies,
    pub(crate) observers: Observers,
    settings: OutboundSettings,
    published: RwLock<HashMap<TypeId, PublishTarget>>,
}

/// What the builder of a bus says about sending.
pub(crate) struct OutboundSettings {
    pub(crate) source: Arc<str>,
    pub(crate) codec: Codec,
    pub(crate) deadline: Duration,
    pub(crate) routes: HashMap<TypeId, Address>,
    pub(crate) hooks: Vec<Arc<dyn OutgoingHook>>,
}

#[derive(Clone)]
struct PublishTarget {
    target: Target,
    address: Arc<str>,
}

/// The message being consumed, to which what is sent owes its ids.
pub(crate) struct Origin<'a> {
    pub(crate) envelope: &'a Envelope,
    pub(crate) address: &'a Arc<str>,
    pub(crate) trace: &'a TraceContext,
    pub(crate) priority: Option<u8>,
    pub(crate) codec: Codec,
    /// None: each message gets a fresh id.
    pub(crate) ids: Option<Ids<'a>>,
}

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
        settings: OutboundSettings,
    ) -> Self {
        let base = transport.base_address();
        let direct = Arc::new(Direct::new(Arc::clone(&transport), observers.clone()));
        Self {
            transport,
            direct,
            base,
            topologies,
            observers,
            settings,
            published: RwLock::default(),
        }
    }

    /// The address of this process, for what is sent outside of a consumer.
    pub(crate) fn source(&self) -> &str {
        &self.settings.source
    }

    /// Past every outbox.
    pub(crate) fn direct(&self) -> Arc<dyn Dispatch> {
        Arc::clone(&self.direct)
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    /// A draft to everybody who subscribed to `M`.
    pub(crate) fn publish<M: Message>(
        &self,
        message: &M,
        origin: Option<&Origin<'_>>,
    ) -> Result<Draft, SendError> {
        let mut draft = self.draft(message, Intent::Publish, origin)?;
        let published = self.publish_target::<M>();
        draft.envelope.destination_address = Some(published.address);
        draft.target = published.target;
        if let Some(key_of) = self.topologies.key_of(TypeId::of::<M>()) {
            draft.routing_key = Cow::Owned(key_of(message as &(dyn Any + Send + Sync)));
        }
        identify(&mut draft, origin);
        Ok(draft)
    }

    /// A draft to one address.
    pub(crate) fn send_to<M: Message>(
        &self,
        address: Result<Address, InvalidAddress>,
        message: &M,
        origin: Option<&Origin<'_>>,
    ) -> Result<Draft, SendError> {
        let address = address.map_err(|error| {
            SendError::new(SendErrorKind::NoRoute, error.to_string()).with_source(error)
        })?;
        let mut draft = self.draft(message, Intent::Send, origin)?;
        draft.mandatory = matches!(address.target(), Target::Queue(_) | Target::Inbox(_));
        draft.envelope.destination_address = Some(address.to_uri(&self.base).into());
        draft.target = address.target();
        identify(&mut draft, origin);
        Ok(draft)
    }

    /// The address that was configured for `M`.
    pub(crate) fn route<M: Message>(&self) -> Result<Address, SendError> {
        self.settings.routes.get(&TypeId::of::<M>()).cloned().ok_or_else(|| {
            let name = Contract::of::<M>().message_type.qualified();
            let advice = "name the queue with .route::<M>(\"queue:name\") on the bus builder, or use send_to";
            SendError::new(SendErrorKind::NoRoute, format!("no route for {name}: {advice}"))
        })
    }

    fn draft<M: Message>(
        &self,
        message: &M,
        intent: Intent,
        origin: Option<&Origin<'_>>,
    ) -> Result<Draft, SendError> {
        let contract = Contract::of::<M>();
        let encoded = encode_message(message).map_err(|error| {
            SendError::new(
                SendErrorKind::Encode,
                format!("{} cannot be encoded: {error}", contract.message_type),
            )
            .with_source(error)
        })?;
        let mut draft = self.draft_of(Cow::Borrowed(&contract.urns), encoded, intent);
        draft.envelope.correlation_id = message.correlation_id();
        if let Some(origin) = origin {
            origin.apply(&mut draft);
        } else {
            draft.envelope.conversation_id = Some(Uuid::now_v7());
            TraceContext::root().write(&mut draft.envelope.headers);
        }
        Ok(draft)
    }

    /// A draft of an encoded message part, without an id and with nothing of an origin.
    pub(crate) fn draft_of(
        &self,
        message_types: Cow<'static, [Cow<'static, str>]>,
        message: bytes::Bytes,
        intent: Intent,
    ) -> Draft {
        let envelope = Envelope {
            source_address: Some(Arc::clone(&self.settings.source)),
            message_types,
            message,
            sent_time: Some(SystemTime::now()),
            host: Some(HostInfo::current_json().clone()),
            ..Envelope::default()
        };
        Draft {
            envelope,
            target: Target::Queue(Cow::Borrowed("")),
            intent,
            routing_key: Cow::Borrowed(""),
            codec: self.settings.codec,
            ttl: None,
            priority: None,
            durable: true,
            mandatory: false,
            delay: None,
            deadline: self.settings.deadline,
        }
    }

    fn publish_target<M: Message>(&self) -> PublishTarget {
        let type_id = TypeId::of::<M>();
        if let Some(known) = self
            .published
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&type_id)
        {
            return known.clone();
        }
        let contract = Contract::of::<M>();
        let name = self.topologies.settings_of(type_id, contract).entity;
        let address = Address::exchange(name.clone()).to_uri(&self.base).into();
        let topology = Some(Arc::new(self.topologies.publisher(type_id, contract)));
        let made = PublishTarget {
            target: Target::Exchange { name, topology },
            address,
        };
        self.published
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(type_id)
            .or_insert(made)
            .clone()
    }

    /// Runs the hooks, checks and encodes.
    pub(crate) fn pack(&self, mut draft: Draft) -> Result<Parcel, SendError> {
        for hook in &self.settings.hooks {
            caught(|| hook.prepare(&mut draft)).unwrap_or_else(|panic| {
                let text = format!("a hook for outgoing messages panicked: {panic}");
                Err(SendError::new(SendErrorKind::Refused, text))
            })?;
        }
        draft.ttl = draft.ttl.filter(|ttl| *ttl != Duration::MAX);
        if let Some(ttl) = draft.ttl {
            draft.envelope.expiration_time = draft
                .envelope
                .sent_time
                .and_then(|sent| sent.checked_add(ttl));
        }
        self.check(&draft)?;
        let encoded = draft.codec.encode(&draft.envelope);
        let outgoing = Outgoing {
            routing_key: draft.routing_key,
            content_type: Some(Cow::Borrowed(draft.codec.content_type())),
            message_id: draft.envelope.message_id.map(text),
            correlation_id: draft.envelope.correlation_id.map(text),
            headers: encoded.headers,
            ttl: draft.ttl,
            priority: draft.priority,
            durable: draft.durable,
            mandatory: draft.mandatory,
            delay: draft.delay,
            ..Outgoing::new(draft.target, encoded.body)
        };
        Ok(Parcel {
            outgoing,
            envelope: draft.envelope,
            intent: draft.intent,
            deadline: draft.deadline,
        })
    }
}

/// Gives a draft with its target the id that it keeps.
fn identify(draft: &mut Draft, origin: Option<&Origin<'_>>) {
    let ids = origin.and_then(|origin| origin.ids);
    let envelope = &draft.envelope;
    let derive = |ids: Ids<'_>| {
        let urn = envelope.message_types.first().map_or("", AsRef::as_ref);
        ids.next(urn, draft.target.name(), &envelope.message)
    };
    draft.envelope.message_id = Some(ids.map_or_else(Uuid::now_v7, derive));
}

/// As `to_string` gives it, without its detour.
fn text(id: Uuid) -> String {
    let mut buffer = Uuid::encode_buffer();
    id.hyphenated().encode_lower(&mut buffer).to_owned()
}

impl Origin<'_> {
    /// Carries on what a consumed message hands to those it causes, but for their ids.
    pub(crate) fn apply(&self, draft: &mut Draft) {
        let (from, to) = (self.envelope, &mut draft.envelope);
        to.conversation_id = from.conversation_id.or_else(|| Some(Uuid::now_v7()));
        to.initiator_id = from.correlation_id.or(from.request_id);
        to.source_address = Some(Arc::clone(self.address));
        for (name, value) in from.headers.iter().filter(|(name, _)| is_user_header(name)) {
            if !to.headers.contains(name) {
                to.headers.insert(name.to_owned(), value.clone());
            }
        }
        self.trace.child().write(&mut to.headers);
        draft.priority = self.priority;
        draft.codec = self.codec;
    }
}

/// Whether a header belongs to the user and travels on; `MT-…` and the key of a message belong to that one only.
pub(crate) fn is_user_header(name: &str) -> bool {
    !name
        .get(..3)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("MT-"))
        && !name.eq_ignore_ascii_case("traceparent")
        && !name.eq_ignore_ascii_case(KEY_HEADER)
}
