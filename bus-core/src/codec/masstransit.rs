//! MassTransit's JSON envelope.
//!
//! ```json
//! {
//!   "messageId": "01000000-5ad3-7e31-0d4e-08de6a3f1c00",
//!   "requestId": null,
//!   "correlationId": null,
//!   "conversationId": "01000000-5ad3-7e31-11d2-08de6a3f1c00",
//!   "initiatorId": null,
//!   "sourceAddress": "rabbitmq://localhost/web",
//!   "destinationAddress": "rabbitmq://localhost/Invoicing:InvoiceCreated",
//!   "responseAddress": null,
//!   "faultAddress": null,
//!   "messageType": ["urn:message:Invoicing:InvoiceCreated"],
//!   "message": { "number": "A-7" },
//!   "expirationTime": null,
//!   "sentTime": "2026-02-07T14:05:09.1234567Z",
//!   "headers": {},
//!   "host": { "machineName": "web-1", "processId": 4312 }
//! }
//! ```
//!
//! It is written in MassTransit's member order, with `null` for what is absent. It is read in any
//! order and case; unknown members are skipped, and of a member that comes twice the last one is
//! taken. Unlike .NET's reader, this one accepts neither comments nor trailing commas; no
//! serializer writes them. Only `message` is required: MassTransit's Newtonsoft serializer leaves
//! out what is `null`.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::message::{Envelope, Headers, iso8601};
use crate::transport::Incoming;

use super::{DecodeError, Encoded, append_json, blocks, transport_headers};

/// Writes an envelope; its headers are copied beside it, as MassTransit does.
///
/// The members are written one by one instead of by a derived `Serialize`, as message and host are
/// JSON already and would be read once more.
pub(super) fn encode(envelope: &Envelope) -> Encoded {
    let Ok(body) = blocks::collect(|json| {
        write(json, envelope);
        Ok::<_, Infallible>(())
    });
    Encoded {
        body,
        headers: transport_headers::mirror(envelope),
    }
}

/// Estimated size of an envelope around its message, in bytes.
const ABOUT: usize = 1024;

fn write(json: &mut Vec<u8>, envelope: &Envelope) {
    json.reserve(envelope.message.len() + ABOUT);
    json.extend_from_slice(b"{\"messageId\":");
    write_id(json, envelope.message_id);
    for (name, id) in [
        (&b",\"requestId\":"[..], envelope.request_id),
        (b",\"correlationId\":", envelope.correlation_id),
        (b",\"conversationId\":", envelope.conversation_id),
        (b",\"initiatorId\":", envelope.initiator_id),
    ] {
        json.extend_from_slice(name);
        write_id(json, id);
    }
    for (name, address) in [
        (&b",\"sourceAddress\":"[..], &envelope.source_address),
        (b",\"destinationAddress\":", &envelope.destination_address),
        (b",\"responseAddress\":", &envelope.response_address),
        (b",\"faultAddress\":", &envelope.fault_address),
    ] {
        let address = address.as_deref();
        json.extend_from_slice(name);
        append_json(json, &address);
    }
    json.extend_from_slice(b",\"messageType\":");
    append_json(json, &envelope.message_types);
    json.extend_from_slice(b",\"message\":");
    write_raw(json, Some(&envelope.message));
    json.extend_from_slice(b",\"expirationTime\":");
    write_time(json, envelope.expiration_time);
    json.extend_from_slice(b",\"sentTime\":");
    write_time(json, envelope.sent_time);
    json.extend_from_slice(b",\"headers\":");
    append_json(json, &envelope.headers);
    json.extend_from_slice(b",\"host\":");
    write_raw(json, envelope.host.as_ref());
    json.push(b'}');
}

fn write_id(json: &mut Vec<u8>, id: Option<Uuid>) {
    let Some(id) = id else {
        return json.extend_from_slice(b"null");
    };
    json.push(b'"');
    let text = id.hyphenated();
    json.extend_from_slice(text.encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    json.push(b'"');
}

fn write_time(json: &mut Vec<u8>, time: Option<SystemTime>) {
    let Some(time) = time else {
        return json.extend_from_slice(b"null");
    };
    json.push(b'"');
    json.extend_from_slice(iso8601::format(time).as_str().as_bytes());
    json.push(b'"');
}

/// Writes JSON that was encoded before; `null` for none.
fn write_raw(json: &mut Vec<u8>, raw: Option<&Bytes>) {
    match raw {
        Some(raw) if !raw.is_empty() => json.extend_from_slice(raw),
        _ => json.extend_from_slice(b"null"),
    }
}

/// Reads an envelope; `json` is the text in the body.
pub(super) fn decode(incoming: &Incoming, json: &[u8]) -> Result<Envelope, DecodeError> {
    let parts: Parts<'_> =
        serde_json::from_slice(json).map_err(|error| DecodeError::of_envelope(&error))?;
    let slice = |raw: &RawValue| incoming.body.slice_ref(raw.get().as_bytes());
    let message = parts
        .message
        .map(slice)
        .ok_or_else(DecodeError::no_message)?;
    let mut envelope = Envelope {
        message_id: read_id("messageId", parts.message_id.as_deref())?,
        request_id: read_id("requestId", parts.request_id.as_deref())?,
        correlation_id: read_id("correlationId", parts.correlation_id.as_deref())?,
        conversation_id: read_id("conversationId", parts.conversation_id.as_deref())?,
        initiator_id: read_id("initiatorId", parts.initiator_id.as_deref())?,
        source_address: read_address(parts.source_address),
        destination_address: read_address(parts.destination_address),
        response_address: read_address(parts.response_address),
        fault_address: read_address(parts.fault_address),
        message_types: parts.message_types.into(),
        message,
        expiration_time: read_time(parts.expiration_time),
        sent_time: read_time(parts.sent_time),
        headers: parts.headers.unwrap_or_default(),
        host: parts.host.filter(|host| host.get() != "null").map(slice),
    };
    transport_headers::adopt(&mut envelope.headers, &incoming.headers, |_| false);
    Ok(envelope)
}

/// Reads an id; blank text and zeros count as absent, as they do for MassTransit.
///
/// Senders whose ids are never null write such values.
fn read_id(member: &str, text: Option<&str>) -> Result<Option<Uuid>, DecodeError> {
    let id = text
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| Uuid::try_parse(text).map_err(|_| DecodeError::invalid_id(member, text)))
        .transpose()?;
    Ok(id.filter(|id| !id.is_nil()))
}

/// Reads an address; a blank one counts as absent.
fn read_address(text: Option<Cow<'_, str>>) -> Option<Arc<str>> {
    text.filter(|text| !text.trim().is_empty()).map(Arc::from)
}

/// Reads a time; one that cannot be read counts as absent.
///
/// A message is never refused for its times.
fn read_time(raw: Option<&RawValue>) -> Option<SystemTime> {
    iso8601::parse(raw?.get().strip_prefix('"')?.strip_suffix('"')?)
}

/// Finds the request id in an envelope with mistakes in it, or in a part of one.
pub(super) fn request_id(json: &[u8]) -> Option<Uuid> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(json);
    // What comes behind the id may be broken.
    let _ = reader.deserialize_map(RequestId(&mut found));
    found
}

/// Visitor that looks for one member alone, and keeps it if the rest is broken.
struct RequestId<'a>(&'a mut Option<Uuid>);

impl<'de> Visitor<'de> for RequestId<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(MemberName(member)) = map.next_key()? {
            if member == "requestId" {
                let text = map.next_value_seed(Text(member))?;
                *self.0 = read_id(member, text.as_deref()).ok().flatten();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The members as they stand in the body.
#[derive(Default)]
struct Parts<'a> {
    message_id: Option<Cow<'a, str>>,
    request_id: Option<Cow<'a, str>>,
    correlation_id: Option<Cow<'a, str>>,
    conversation_id: Option<Cow<'a, str>>,
    initiator_id: Option<Cow<'a, str>>,
    source_address: Option<Cow<'a, str>>,
    destination_address: Option<Cow<'a, str>>,
    response_address: Option<Cow<'a, str>>,
    fault_address: Option<Cow<'a, str>>,
    message_types: Vec<Cow<'static, str>>,
    message: Option<&'a RawValue>,
    expiration_time: Option<&'a RawValue>,
    sent_time: Option<&'a RawValue>,
    headers: Option<Headers>,
    host: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartsVisitor)
    }
}

/// Visitor that borrows what it can from the body.
///
/// Written by hand, as serde's derived field names know one case only.
struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the members of an envelope")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
        let mut parts = Parts::default();
        while let Some(MemberName(member)) = map.next_key()? {
            let text = Text(member);
            match member {
                "messageId" => parts.message_id = map.next_value_seed(text)?,
                "requestId" => parts.request_id = map.next_value_seed(text)?,
                "correlationId" => parts.correlation_id = map.next_value_seed(text)?,
                "conversationId" => parts.conversation_id = map.next_value_seed(text)?,
                "initiatorId" => parts.initiator_id = map.next_value_seed(text)?,
                "sourceAddress" => parts.source_address = map.next_value_seed(text)?,
                "destinationAddress" => parts.destination_address = map.next_value_seed(text)?,
                "responseAddress" => parts.response_address = map.next_value_seed(text)?,
                "faultAddress" => parts.fault_address = map.next_value_seed(text)?,
                "messageType" => {
                    let urns: Option<Vec<Cow<'static, str>>> = map.next_value()?;
                    parts.message_types = urns.unwrap_or_default();
                }
                "message" => parts.message = Some(map.next_value()?),
                "expirationTime" => parts.expiration_time = Some(map.next_value()?),
                "sentTime" => parts.sent_time = Some(map.next_value()?),
                "headers" => parts.headers = map.next_value()?,
                "host" => parts.host = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(parts)
    }
}

/// Names of the members, as MassTransit writes them.
static MEMBERS: [&str; 15] = [
    "messageId",
    "requestId",
    "correlationId",
    "conversationId",
    "initiatorId",
    "sourceAddress",
    "destinationAddress",
    "responseAddress",
    "faultAddress",
    "messageType",
    "message",
    "expirationTime",
    "sentTime",
    "headers",
    "host",
];

/// Name of a member in the spelling of [`MEMBERS`], without regard to its case.
///
/// Empty if it is none of them.
struct MemberName(&'static str);

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(MemberVisitor)
    }
}

struct MemberVisitor;

impl Visitor<'_> for MemberVisitor {
    type Value = MemberName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<MemberName, E> {
        // Almost always in that spelling, which is the faster one to find.
        let spelled = MEMBERS.iter().find(|known| **known == name);
        let same = |known: &&&str| known.eq_ignore_ascii_case(name);
        let known = spelled.or_else(|| MEMBERS.iter().find(same));
        Ok(MemberName(known.copied().unwrap_or_default()))
    }
}

/// Text or `null`, borrowed from the body where it holds no escapes.
///
/// Names the member in its error.
struct Text(&'static str);

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text or null in `{}`", self.0)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(text.to_owned())))
    }
}
