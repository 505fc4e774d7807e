//! Outgoing messages that are encoded, with their ids fixed.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::due::Due;
use crate::codec::Codec;
use crate::message::{Envelope, HeaderName, HeaderValue, Intent};
use crate::transport::Outgoing;

/// Outgoing message that is encoded, with its ids fixed.
///
/// It may be sent now or later, any number of times, always with the same ids.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SealedMessage {
    /// The encoded message for the transport.
    pub outgoing: Outgoing,
    /// Metadata of the message, for observers.
    pub envelope: Envelope,
    /// Intent: publish, send, respond or fault.
    pub intent: Intent,
    /// Limit of the time that each try to send it may take.
    ///
    /// `Duration::MAX` is without end.
    pub deadline: Duration,
    /// Time before which the message is not delivered. `None`: at once.
    pub due: Option<Due>,
}

impl SealedMessage {
    /// Returns a new message of the same content, which is sent now.
    ///
    /// For a message that is sent again and again: it begins a conversation of its own, and its
    /// time to live begins now.
    #[must_use]
    pub fn renewed(mut self, message_id: Uuid) -> Self {
        let now = SystemTime::now();
        let envelope = &mut self.envelope;
        let ttl = envelope.expiration_time.zip(envelope.sent_time);
        let ttl = ttl.and_then(|(end, begin)| end.duration_since(begin).ok());
        envelope.message_id = Some(message_id);
        envelope.conversation_id = Some(message_id);
        envelope.sent_time = Some(now);
        envelope.expiration_time = ttl.and_then(|ttl| now.checked_add(ttl));
        self.outgoing.message_id = Some(message_id.to_string());
        self.outgoing.ttl = ttl;
        self.due = None;
        self.encode();
        self
    }

    /// Returns the message with one more header.
    #[must_use]
    pub fn with_header(
        mut self,
        name: impl Into<HeaderName>,
        value: impl Into<HeaderValue>,
    ) -> Self {
        self.envelope.headers.insert(name, value);
        self.encode();
        self
    }

    /// Writes the envelope anew.
    fn encode(&mut self) {
        let content_type = self.outgoing.content_type.as_deref();
        let codec = Codec::for_content_type(content_type, Codec::default()).unwrap_or_default();
        let encoded = codec.encode(&self.envelope);
        self.outgoing.body = encoded.body;
        self.outgoing.headers = encoded.headers;
    }
}
