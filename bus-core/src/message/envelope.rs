//! Metadata of a message: ids, addresses, headers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use super::headers::Headers;

/// The metadata of one message and its message part, still encoded.
///
/// Members and their meaning are those of MassTransit's envelope; every one but
/// [`message`](Self::message) may be absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// Id of the message; retries and re-sends keep it.
    pub message_id: Option<Uuid>,
    /// Id that pairs a request with its reply or fault.
    pub request_id: Option<Uuid>,
    /// Id of the business conversation's subject.
    ///
    /// Comes from the contract's `correlation` member.
    pub correlation_id: Option<Uuid>,
    /// Id that is the same for every message that one first message caused.
    pub conversation_id: Option<Uuid>,
    /// Correlation id of the message that caused this one, else its request id.
    pub initiator_id: Option<Uuid>,
    /// Address of the endpoint that sent it.
    pub source_address: Option<Arc<str>>,
    /// Address to which it was sent.
    pub destination_address: Option<Arc<str>>,
    /// Address to which a reply goes.
    pub response_address: Option<Arc<str>>,
    /// Address to which a fault goes.
    pub fault_address: Option<Arc<str>>,
    /// URNs of its types: the type itself first, then its base contracts.
    pub message_types: Cow<'static, [Cow<'static, str>]>,
    /// Message part, as the JSON text that came or goes.
    pub message: Bytes,
    /// Instant after which the sender has no more use for it.
    pub expiration_time: Option<SystemTime>,
    /// Instant at which it was sent, by the sender's clock.
    pub sent_time: Option<SystemTime>,
    /// Headers of the user and of the framework (`MT-…`).
    pub headers: Headers,
    /// Process of the sender, as the JSON text that came or goes.
    ///
    /// [`HostInfo::from_json`](crate::codec::HostInfo::from_json) reads it.
    pub host: Option<Bytes>,
}

impl Envelope {
    /// Returns the URN of its most specific type; `None` if it names none.
    pub fn message_type(&self) -> Option<&str> {
        self.message_types.first().map(AsRef::as_ref)
    }

    /// Returns `true` if any of the message's types is `urn`.
    ///
    /// Case is ignored, as MassTransit does.
    pub fn is_of_type(&self, urn: &str) -> bool {
        self.message_types
            .iter()
            .any(|candidate| candidate.eq_ignore_ascii_case(urn))
    }
}
