//! Format with the bare message as the body and metadata in transport headers.
//!
//! The headers have MassTransit's names:
//!
//! | header | member of the envelope |
//! |---|---|
//! | `MessageId`, `CorrelationId`, `ConversationId`, `RequestId` | the ids of these names |
//! | `MT-InitiatorId` | initiator id |
//! | `MT-MessageType` | message types, separated by `;` |
//! | `MT-Source-Address`, `MT-Response-Address`, `MT-Fault-Address` | the addresses of these names |
//! | `MT-Host-Info` | host, as JSON |
//!
//! Everything else among the headers belongs to the user. It suits producers and consumers that
//! know nothing of envelopes: a body of plain JSON without any header is a message too.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::message::{Envelope, Headers};
use crate::transport::Incoming;

use super::{Encoded, is_json, transport_headers};

const MESSAGE_ID: &str = "MessageId";
const CORRELATION_ID: &str = "CorrelationId";
const CONVERSATION_ID: &str = "ConversationId";
const REQUEST_ID: &str = "RequestId";
const INITIATOR_ID: &str = "MT-InitiatorId";
const MESSAGE_TYPE: &str = "MT-MessageType";
const RESPONSE_ADDRESS: &str = "MT-Response-Address";
const FAULT_ADDRESS: &str = "MT-Fault-Address";
const SOURCE_ADDRESS: &str = "MT-Source-Address";
const HOST_INFO: &str = "MT-Host-Info";

/// Names that a user's header cannot have in this format; their case is ignored.
const METADATA: [&str; 10] = [
    MESSAGE_ID,
    CORRELATION_ID,
    CONVERSATION_ID,
    REQUEST_ID,
    INITIATOR_ID,
    MESSAGE_TYPE,
    RESPONSE_ADDRESS,
    FAULT_ADDRESS,
    SOURCE_ADDRESS,
    HOST_INFO,
];

/// Writes the message as it is, and its metadata to headers.
pub(super) fn encode(envelope: &Envelope) -> Encoded {
    let mut headers = transport_headers::carry(envelope);
    let ids = [
        (MESSAGE_ID, envelope.message_id),
        (CORRELATION_ID, envelope.correlation_id),
        (CONVERSATION_ID, envelope.conversation_id),
        (REQUEST_ID, envelope.request_id),
        (INITIATOR_ID, envelope.initiator_id),
    ];
    let types = envelope.message_types.join(";");
    let host = envelope.host.as_deref().map(String::from_utf8_lossy);
    let texts = [
        (RESPONSE_ADDRESS, envelope.response_address.as_deref()),
        (FAULT_ADDRESS, envelope.fault_address.as_deref()),
        (SOURCE_ADDRESS, envelope.source_address.as_deref()),
        (
            MESSAGE_TYPE,
            Some(types.as_str()).filter(|types| !types.is_empty()),
        ),
        (HOST_INFO, host.as_deref()),
    ];
    // A user's header must not pass for metadata that the envelope does not have.
    headers.retain(|name, _| !is_metadata(name));
    headers.extend(ids.into_iter().filter_map(|(name, id)| Some((name, id?))));
    headers.extend(
        texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?))),
    );
    Encoded {
        body: envelope.message.clone(),
        headers,
    }
}

/// Reads the metadata of a bare message from its headers.
///
/// Cannot fail: senders of bare JSON need not know our headers, so an odd or blank one counts as
/// absent. `json` is the text in the body.
pub(super) fn decode(incoming: &Incoming, json: &[u8]) -> Envelope {
    let from = &incoming.headers;
    let text = |name| {
        let text = from.text(name).filter(|text| !text.trim().is_empty());
        text.map(Arc::from)
    };
    let property = |text: Option<&String>| text.and_then(|text| read_id(text));
    let types = from.text(MESSAGE_TYPE).unwrap_or_default().split(';');
    let host = from.text(HOST_INFO).map(str::as_bytes);
    let mut envelope = Envelope {
        message_id: id(from, MESSAGE_ID).or_else(|| property(incoming.message_id.as_ref())),
        correlation_id: id(from, CORRELATION_ID)
            .or_else(|| property(incoming.correlation_id.as_ref())),
        conversation_id: id(from, CONVERSATION_ID),
        request_id: id(from, REQUEST_ID),
        initiator_id: id(from, INITIATOR_ID),
        source_address: text(SOURCE_ADDRESS),
        response_address: text(RESPONSE_ADDRESS),
        fault_address: text(FAULT_ADDRESS),
        message_types: types
            .map(str::trim)
            .filter(|urn| !urn.is_empty())
            .map(|urn| urn.to_owned().into())
            .collect(),
        message: incoming.body.slice_ref(json),
        host: host
            .filter(|json| is_json(json))
            .map(Bytes::copy_from_slice),
        ..Envelope::default()
    };
    transport_headers::adopt(&mut envelope.headers, from, is_metadata);
    envelope
}

/// Finds the request id of a message whose body cannot be read.
pub(super) fn request_id(incoming: &Incoming) -> Option<Uuid> {
    id(&incoming.headers, REQUEST_ID)
}

fn id(headers: &Headers, name: &str) -> Option<Uuid> {
    read_id(headers.text(name)?)
}

/// Reads an id; text that is no GUID, and zeros, count as absent.
fn read_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text.trim()).ok()?;
    (!id.is_nil()).then_some(id)
}

fn is_metadata(name: &str) -> bool {
    METADATA
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}
