//! Sealed messages as records: what a store keeps of a message that leaves later.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::due::Due;
use super::record_error::RecordError;
use super::sealed::SealedMessage;
use crate::codec::{Codec, is_json, stored};
use crate::message::headers::typed;
use crate::message::{Envelope, Headers, Intent};
use crate::serde_helpers::DateTime;
use crate::topology::Topology;
use crate::transport::{Incoming, Outgoing, ScheduleToken, Target};

/// Version of the metadata that this release writes, and the highest that it reads.
const VERSION: u32 = 1;

/// Message that is stored, to be sent by another process or at another time.
///
/// A store keeps the body in a column of its own, byte for byte, and the metadata as JSON.
///
/// ```
/// use bus_core::send::{MessageMetadata, MessageRecord, RecordError, SealedMessage};
///
/// /// A row of a table of outgoing messages.
/// struct Row { metadata: String, body: Vec<u8> }
///
/// fn to_row(sealed: &SealedMessage) -> Row {
///     let record = sealed.to_record();
///     Row { metadata: record.metadata.to_json(), body: record.body.into() }
/// }
///
/// fn from_row(row: Row) -> Result<SealedMessage, RecordError> {
///     let metadata = MessageMetadata::from_json(&row.metadata)?;
///     let record = MessageRecord { metadata, body: row.body.into() };
///     SealedMessage::from_record(record, |_| None) // no table of topologies
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRecord {
    /// Everything but the body.
    pub metadata: MessageMetadata,
    /// Body, as the transport moves it.
    pub body: Bytes,
}

/// Metadata of a [`MessageRecord`], for a column with JSON.
///
/// Members that this release does not know are ignored when it is read. A later release writes a
/// higher [`version`](Self::version) only where ignoring would do harm; such metadata is refused.
/// Times are ISO 8601 texts to 100 nanoseconds, headers keep the kinds of their values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MessageMetadata {
    /// Version of the format, at present 1.
    pub version: u32,
    /// Intent: publish, send, respond or fault.
    pub intent: Intent,
    /// Exchange or queue to which the message goes.
    pub target: TargetRecord,
    /// Routing key, for direct and topic exchanges.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub routing_key: String,
    /// Media type of the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Message id as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Correlation id as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Transport headers.
    #[serde(default, with = "typed", skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// End of the time to live; the wait in the store counts.
    #[serde(default, with = "time", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<SystemTime>,
    /// Time before which the message is not delivered.
    ///
    /// A scheduler that has waited for it sets `None` before it hands the message over: by another
    /// clock it may not be due yet, and a transport without
    /// [`DelayedDelivery`](crate::transport::Capability::DelayedDelivery) would refuse it.
    #[serde(default, with = "time", skip_serializing_if = "Option::is_none")]
    pub due: Option<SystemTime>,
    /// Token with which the message is cancelled until it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_token: Option<ScheduleToken>,
    /// Key of the messages that keep their order among each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// Priority, where the queue has priorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Persistence: the broker writes the message to disk.
    pub durable: bool,
    /// Demand that a queue takes the message.
    pub mandatory: bool,
    /// Limit of the time that each try to send it may take.
    ///
    /// `Duration::MAX` is without end.
    pub deadline: Duration,
}

impl MessageMetadata {
    /// Writes the metadata as JSON.
    pub fn to_json(&self) -> String {
        stored::to_stored(self)
    }

    /// Reads metadata from JSON.
    ///
    /// # Errors
    /// A [`RecordError`] that names the member, for text that is no metadata and for a higher
    /// version.
    pub fn from_json(json: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let error = |misfit: stored::Misfit| RecordError::new(misfit.member, misfit.reason);
        // Before the rest, as other versions may have other members.
        check_version(
            stored::from_stored::<Versioned>(json)
                .map_err(error)?
                .version,
        )?;
        stored::from_stored(json).map_err(error)
    }
}

/// Destination of a stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetRecord {
    /// An exchange, with or without a topology to declare.
    Exchange {
        /// Name of the exchange.
        name: String,
        /// [Fingerprint](Topology::fingerprint) of the topology to declare before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topology: Option<Uuid>,
    },
    /// The exchange of a queue, with the same name.
    Queue(String),
    /// A queue itself, past every exchange.
    Inbox(String),
}

impl SealedMessage {
    /// Returns the topology to declare before the message is sent, if there is one.
    pub fn topology(&self) -> Option<&Arc<Topology>> {
        match &self.outgoing.target {
            Target::Exchange { topology, .. } => topology.as_ref(),
            Target::Queue(_) | Target::Inbox(_) => None,
        }
    }

    /// Returns the message as a store keeps it.
    ///
    /// The store keeps the [topology](Self::topology) beside it, by its fingerprint. Time to live
    /// and delay become times of the calendar, so that the wait in the store counts.
    /// [`Outgoing::original`] is not kept.
    pub fn to_record(&self) -> MessageRecord {
        let outgoing = &self.outgoing;
        let metadata = MessageMetadata {
            version: VERSION,
            intent: self.intent,
            target: TargetRecord::of(&outgoing.target),
            routing_key: outgoing.routing_key.clone().into_owned(),
            content_type: outgoing.content_type.clone().map(Cow::into_owned),
            message_id: outgoing.message_id.clone(),
            correlation_id: outgoing.correlation_id.clone(),
            headers: outgoing.headers.clone(),
            expires_at: outgoing
                .ttl
                .and_then(|ttl| SystemTime::now().checked_add(ttl)),
            due: self.due.map(Due::time),
            schedule_token: outgoing.schedule_token,
            ordering_key: outgoing.ordering_key.clone(),
            priority: outgoing.priority,
            durable: outgoing.durable,
            mandatory: outgoing.mandatory,
            deadline: self.deadline,
        };
        MessageRecord {
            metadata,
            body: outgoing.body.clone(),
        }
    }

    /// Reads a message that was stored; `topology` finds one by its fingerprint.
    ///
    /// A message that has expired meanwhile has a time to live of zero: the broker drops it unless
    /// a consumer takes it at once. One that is due already is delivered at once. The envelope is
    /// read from the body, for observers; it lacks what the format does not carry.
    ///
    /// # Errors
    /// A [`RecordError`] that names the member: a higher version, a content type that no codec
    /// reads, a body that is no message, or a topology that is not found. It is the same each time,
    /// unless the topology comes.
    pub fn from_record(
        record: MessageRecord,
        topology: impl FnOnce(Uuid) -> Option<Arc<Topology>>,
    ) -> Result<Self, RecordError> {
        let MessageRecord { metadata, body } = record;
        check_version(metadata.version)?;
        let envelope = envelope(&metadata, &body)?;
        let outgoing = Outgoing {
            routing_key: Cow::Owned(metadata.routing_key),
            content_type: metadata.content_type.map(Cow::Owned),
            message_id: metadata.message_id,
            correlation_id: metadata.correlation_id,
            headers: metadata.headers,
            ttl: metadata.expires_at.map(|at| Due::At(at).from_now()),
            schedule_token: metadata.schedule_token,
            ordering_key: metadata.ordering_key,
            priority: metadata.priority,
            durable: metadata.durable,
            mandatory: metadata.mandatory,
            ..Outgoing::new(metadata.target.into_target(topology)?, body)
        };
        Ok(Self {
            outgoing,
            envelope,
            intent: metadata.intent,
            deadline: metadata.deadline,
            due: metadata.due.map(Due::At),
        })
    }
}

impl TargetRecord {
    fn of(target: &Target) -> Self {
        match target {
            Target::Exchange { name, topology } => Self::Exchange {
                name: name.clone().into_owned(),
                topology: topology.as_deref().map(Topology::fingerprint),
            },
            Target::Queue(name) => Self::Queue(name.clone().into_owned()),
            Target::Inbox(name) => Self::Inbox(name.clone().into_owned()),
        }
    }

    fn into_target(
        self,
        find: impl FnOnce(Uuid) -> Option<Arc<Topology>>,
    ) -> Result<Target, RecordError> {
        Ok(match self {
            Self::Exchange { name, topology } => {
                let found = topology.map(|fingerprint| {
                    find(fingerprint).ok_or_else(|| {
                        let text =
                            format!("no topology with the fingerprint {fingerprint} is known");
                        RecordError::new("target.topology", text)
                    })
                });
                Target::Exchange {
                    name: Cow::Owned(name),
                    topology: found.transpose()?,
                }
            }
            Self::Queue(name) => Target::Queue(Cow::Owned(name)),
            Self::Inbox(name) => Target::Inbox(Cow::Owned(name)),
        })
    }
}

fn check_version(version: u32) -> Result<(), RecordError> {
    if version <= VERSION {
        return Ok(());
    }
    let text = format!("{version} is higher than {VERSION}, the highest that this release reads");
    Err(RecordError::new("version", text))
}

/// Reads the envelope from the body, for observers.
fn envelope(metadata: &MessageMetadata, body: &Bytes) -> Result<Envelope, RecordError> {
    let codec = Codec::for_content_type(metadata.content_type.as_deref(), Codec::default())
        .map_err(|error| RecordError::new("content_type", error.to_string()))?;
    let incoming = Incoming {
        body: body.clone(),
        message_id: metadata.message_id.clone(),
        correlation_id: metadata.correlation_id.clone(),
        headers: metadata.headers.clone(),
        ..Incoming::default()
    };
    let envelope = codec
        .decode(&incoming)
        .map_err(|error| RecordError::new("body", error.to_string()).with_source(error))?;
    // The bare format is not read before a consumer wants the message.
    if codec == Codec::RawJson && !is_json(&envelope.message) {
        return Err(RecordError::new("body", "it is not JSON"));
    }
    Ok(envelope)
}

/// Times as ISO 8601 text.
mod time {
    use serde::{Deserializer, Serializer};

    use super::{DateTime, Deserialize, Serialize, SystemTime};

    #[allow(clippy::ref_option)] // serde's signature
    pub(super) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(DateTime).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let time = Option::<DateTime>::deserialize(deserializer)?;
        Ok(time.map(SystemTime::from))
    }
}
