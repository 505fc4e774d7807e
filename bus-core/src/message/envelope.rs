//! What travels around a message: ids, addresses, headers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use super::headers::Headers;

/// The metadata of one message and its message part, still encoded.
///
/// Members and their meaning are those of MassTransit's envelope; every one but [`message`](Self::message) may be absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// Identifies the message; retries and re-sends keep it.
    pub message_id: Option<Uuid>,
    /// Pairs a request with its reply or fault.
    pub request_id: Option<Uuid>,
    /// Names the business conversation's subject; from the contract's `correlation` member.
    pub correlation_id: Option<Uuid>,
    /// The same for every message that one first message caused.
    pub conversation_id: Option<Uuid>,
    /// The correlation id of the message that caused this one, else its request id.
    pub initiator_id: Option<Uuid>,
    /// The endpoint that sent it.
    pub source_address: Option<Arc<str>>,
    /// Where it was sent.
    pub destination_address: Option<Arc<str>>,
    /// Where a reply goes.
    pub response_address: Option<Arc<str>>,
    /// Where a fault goes.
    pub fault_address: Option<Arc<str>>,
    /// URNs: the type itself first, then its base contracts.
    pub message_types: Cow<'static, [Cow<'static, str>]>,
    /// The message part, as the JSON text that came or goes.
    pub message: Bytes,
    /// After this the sender has no more use for it.
    pub expiration_time: Option<SystemTime>,
    /// When it was sent, by the sender's clock.
    pub sent_time: Option<SystemTime>,
    /// Headers of the user and of the framework (`MT-…`).
    pub headers: Headers,
    /// The sender's process, as the JSON text that came or goes; [`HostInfo::from_json`](crate::codec::HostInfo::from_json) reads it.
    pub host: Option<Bytes>,
}

impl Envelope {
    /// Whether any of the message's types is `urn`; case is ignored, as MassTransit does.
    pub fn is_of_type(&self, urn: &str) -> bool {
        self.message_types
            .iter()
            .any(|candidate| candidate.eq_ignore_ascii_case(urn))
    }
}
