//! Messages and envelopes as bytes.
//!
//! The only module that knows how JSON is written and read.
//!
//! ```text
//!   message ──encode_message──► message part ─┐
//!                                  metadata ──┴─ Codec::encode ──► body + transport headers
//!   message ◄──decode_message── message part ─┐
//!                                  metadata ──┴─ Codec::decode ◄── body + transport headers
//! ```
//!
//! Reading the metadata never reads the message part: that stays a slice of the body until a
//! consumer wants it.

mod blocks;
mod decimal;
mod error;
mod host;
mod masstransit;
mod raw_json;
mod raw_value;
pub(crate) mod stored;
mod transport_headers;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use host::HostInfo;
pub use raw_value::JsonText;
pub(crate) use raw_value::RawJson;
pub(crate) use transport_headers::is_noise;

use crate::message::{Envelope, Headers, MAX_HEADERS, Message};
use crate::transport::Incoming;

/// Format of a message body.
///
/// ```
/// use bus_core::codec::{decode_message, encode_message};
/// use bus_core::codec::Codec;
/// use bus_core::message::Envelope;
/// use bus_core::Message;
/// use bus_core::transport::Incoming;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
/// #[message("Invoicing:InvoiceCreated")]
/// struct InvoiceCreated {
///     number: String,
/// }
///
/// let sent = InvoiceCreated { number: "A-7".into() };
/// let envelope = Envelope {
///     message_types: vec![InvoiceCreated::message_type().urn().into()].into(),
///     message: encode_message(&sent)?,
///     ..Envelope::default()
/// };
/// let encoded = Codec::MassTransit.encode(&envelope);
///
/// let incoming = Incoming { body: encoded.body, headers: encoded.headers, ..Incoming::default() };
/// let received = Codec::MassTransit.decode(&incoming)?;
/// assert!(received.is_of_type("urn:message:Invoicing:InvoiceCreated"));
/// assert_eq!(decode_message::<InvoiceCreated>(&received.message)?, sent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// MassTransit's JSON envelope, `application/vnd.masstransit+json`.
    #[default]
    MassTransit,
    /// The bare message, `application/json`.
    ///
    /// Its metadata travels in transport headers. The format has no place for destination address,
    /// sent time and expiration time: they are not carried.
    RawJson,
}

impl Codec {
    /// Returns the media type of the bodies that this codec writes.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::MassTransit => "application/vnd.masstransit+json",
            Self::RawJson => "application/json",
        }
    }

    /// Finds the codec for a media type; `default` where the message has none.
    ///
    /// Case and parameters such as `charset` are ignored.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnsupportedContentType`] for a type that no codec reads. MassTransit
    /// would try its default there; a body in a format that was not announced is better set aside
    /// than guessed at.
    pub fn for_content_type(
        content_type: Option<&str>,
        default: Self,
    ) -> Result<Self, DecodeError> {
        let media_type = content_type
            .and_then(|text| text.split(';').next())
            .map_or("", str::trim);
        if media_type.is_empty() {
            return Ok(default);
        }
        [Self::MassTransit, Self::RawJson]
            .into_iter()
            .find(|codec| media_type.eq_ignore_ascii_case(codec.content_type()))
            .ok_or_else(|| DecodeError::unsupported(media_type))
    }

    /// Finds the codec for a message as it came.
    ///
    /// Taken from its content type, else from a header `Content-Type` or `ContentType`; `default`
    /// where it has neither.
    ///
    /// # Errors
    /// As [`for_content_type`](Self::for_content_type).
    pub fn for_incoming(incoming: &Incoming, default: Self) -> Result<Self, DecodeError> {
        let header = || {
            ["Content-Type", "ContentType"]
                .into_iter()
                .find_map(|name| incoming.headers.text(name))
        };
        Self::for_content_type(incoming.content_type.as_deref().or_else(header), default)
    }

    /// Writes an envelope; the message part goes in as the bytes it is.
    pub fn encode(self, envelope: &Envelope) -> Encoded {
        match self {
            Self::MassTransit => masstransit::encode(envelope),
            Self::RawJson => raw_json::encode(envelope),
        }
    }

    /// Reads the metadata of a message, not its message part.
    ///
    /// The message part stays an unread slice of the body. Transport headers that the envelope
    /// lacks are added to its headers, except what brokers, client libraries and this format itself
    /// put there. Blank ids and addresses count as absent. A byte order mark before the text is
    /// passed over.
    ///
    /// # Errors
    /// [`DecodeError`] gives the reason: an empty body, too many headers, or a body that is no
    /// envelope. [`RawJson`](Self::RawJson) does not check that the body is JSON;
    /// [`decode_message`] does.
    pub fn decode(self, incoming: &Incoming) -> Result<Envelope, DecodeError> {
        let json = text_of(&incoming.body);
        if json.is_empty() {
            return Err(DecodeError::empty());
        }
        if incoming.headers.len() > MAX_HEADERS {
            return Err(DecodeError::too_many_headers());
        }
        match self {
            Self::MassTransit => masstransit::decode(incoming, json),
            Self::RawJson => Ok(raw_json::decode(incoming, json)),
        }
    }
}

/// Returns the text without the byte order mark that some writers put before it.
fn text_of(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Finds the request id of a message that cannot be read, if that much of it can.
pub(crate) fn request_id(incoming: &Incoming) -> Option<Uuid> {
    raw_json::request_id(incoming).or_else(|| masstransit::request_id(text_of(&incoming.body)))
}

/// A message ready for a transport.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Body.
    pub body: Bytes,
    /// Transport headers.
    pub headers: Headers,
}

/// Writes the message part as JSON.
///
/// # Errors
/// [`EncodeError`] if the type's `Serialize` fails, as it does for a map whose keys are not text.
pub fn encode_message<M: Message>(message: &M) -> Result<Bytes, EncodeError> {
    blocks::collect(|json| serde_json::to_writer(json, message))
        .map_err(|error| EncodeError::new::<M>(error))
}

/// Reads the message part from JSON.
///
/// # Errors
/// [`DecodeErrorKind::NotJson`] for text that is not JSON, [`DecodeErrorKind::NoMessage`] for
/// `null`, [`DecodeErrorKind::WrongShape`] for JSON that does not fit `M`; the text names the
/// member and both type names.
pub fn decode_message<M: Message>(json: &[u8]) -> Result<M, DecodeError> {
    if json.trim_ascii() == b"null" {
        return Err(DecodeError::null_message::<M>());
    }
    serde_json::from_slice(json)
        .map_err(|error| DecodeError::of_message::<M>(&error, &misfit::<M>(json)))
}

/// Returns the path of the member that does not fit, `.` for the message itself.
///
/// It reads the text again, so that only failures bear the cost of the path.
fn misfit<M: Message>(json: &[u8]) -> String {
    let mut reader = serde_json::Deserializer::from_slice(json);
    serde_path_to_error::deserialize::<_, M>(&mut reader)
        .map_or_else(|error| error.path().to_string(), |_| ".".to_owned())
}

/// Returns `true` if the bytes are one JSON value.
///
/// Nothing is built, and no depth of nesting is too much.
pub fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

/// Writes JSON for a value of the framework's own, whose `Serialize` cannot fail.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Bytes {
    let mut json = Vec::with_capacity(256);
    append_json(&mut json, value);
    json.into()
}

/// Reads a value of the framework's own from JSON.
pub(crate) fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(json).map_err(|error| DecodeError::of_envelope(&error))
}

fn append_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value)
        .expect("text, numbers, lists and maps with text keys are always written to memory");
}
