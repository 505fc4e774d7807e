//! What a peer is told, and what it tells: one JSON object a line.

use std::fmt;
use std::sync::Arc;

use bus_core::serde_helpers::DateTime;
use bus_core::{ConsumeContext, Headers, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The process ended before the command did: whether it was carried out is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer was killed")]
pub struct Killed;

/// What a peer is told to do.
#[derive(Clone, Debug)]
pub struct Command(Value);

impl Command {
    /// Publishes a message; `contract` is the .NET name.
    pub fn publish(contract: &str, message: &impl Serialize) -> Self {
        Self(json!({ "op": "publish", "type": contract, "message": message }))
    }

    /// Sends a message to an address.
    pub fn send(to: &str, contract: &str, message: &impl Serialize) -> Self {
        Self(json!({ "op": "send", "to": to, "type": contract, "message": message }))
    }

    /// Asks whoever subscribed.
    pub fn request(contract: &str, message: &impl Serialize) -> Self {
        Self(json!({ "op": "request", "type": contract, "message": message }))
    }

    /// Executes a routing slip of `Reserve` and `Charge`; above 1000, the second one fails.
    pub fn slip(amount: u32) -> Self {
        Self(json!({ "op": "slip", "amount": amount }))
    }

    /// Sets a further member of the command.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.0[member] = value.into();
        self
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a command ended.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Answer {
    /// The broker has what was published or sent.
    Done,
    /// It could not be done.
    Error {
        /// The .NET type of the exception.
        error: String,
        /// Its message.
        text: String,
    },
    /// A request was answered.
    Reply(Box<Replied>),
    /// The other side of a request failed.
    Fault {
        /// The fault message.
        fault: Value,
    },
    /// Nobody answered a request in time.
    Timeout,
}

/// The answer to a request, as .NET read it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replied {
    /// The URN of its type.
    #[serde(rename = "type")]
    pub urn: String,
    /// The message.
    pub message: Value,
    /// The request that it answers.
    pub request_id: Option<Uuid>,
    /// The conversation.
    pub conversation_id: Option<Uuid>,
    /// What caused it.
    pub initiator_id: Option<Uuid>,
    /// Who answered.
    pub source_address: Option<Arc<str>>,
}

/// A message that a consumer got, with all metadata, as .NET read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumed {
    /// The queue.
    pub endpoint: String,
    /// The URN of the contract that the consumer asked for.
    #[serde(rename = "as")]
    pub consumed_as: String,
    /// All URNs.
    pub message_type: Vec<String>,
    /// Identifies the message.
    pub message_id: Option<Uuid>,
    /// Pairs a request with its reply.
    pub request_id: Option<Uuid>,
    /// The correlation id.
    pub correlation_id: Option<Uuid>,
    /// The conversation.
    pub conversation_id: Option<Uuid>,
    /// What caused it.
    pub initiator_id: Option<Uuid>,
    /// Who sent it.
    pub source_address: Option<Arc<str>>,
    /// Where it was sent.
    pub destination_address: Option<Arc<str>>,
    /// Where a reply goes.
    pub response_address: Option<Arc<str>>,
    /// Where a fault goes.
    pub fault_address: Option<Arc<str>>,
    /// Until when it is of use.
    pub expiration_time: Option<DateTime>,
    /// When it was sent.
    pub sent_time: Option<DateTime>,
    /// The media type.
    pub content_type: Option<String>,
    /// Whether the broker had delivered it before.
    pub redelivered: bool,
    /// Which retry this is, from 0.
    pub retry_attempt: u32,
    /// The headers of the message.
    pub headers: Map<String, Value>,
    /// The headers beside the body.
    pub transport_headers: Map<String, Value>,
    /// The sender's process.
    pub host: Value,
    /// The message.
    pub message: Value,
}

impl Consumed {
    /// The same, as Rust read it: what a Rust program that speaks the protocol tells.
    ///
    /// # Panics
    /// If the message is no JSON.
    pub fn of<M: Message>(ctx: &ConsumeContext<M>) -> Self {
        let (envelope, incoming) = (ctx.envelope(), ctx.incoming());
        let json = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
        let object = |headers: &Headers| match serde_json::to_value(headers) {
            Ok(Value::Object(headers)) => headers,
            other => panic!("headers are an object, not {other:?}"),
        };
        Self {
            endpoint: ctx.endpoint().to_owned(),
            consumed_as: M::message_type().urn(),
            message_type: envelope
                .message_types
                .iter()
                .map(ToString::to_string)
                .collect(),
            message_id: envelope.message_id,
            request_id: envelope.request_id,
            correlation_id: envelope.correlation_id,
            conversation_id: envelope.conversation_id,
            initiator_id: envelope.initiator_id,
            source_address: envelope.source_address.clone(),
            destination_address: envelope.destination_address.clone(),
            response_address: envelope.response_address.clone(),
            fault_address: envelope.fault_address.clone(),
            expiration_time: envelope.expiration_time.map(DateTime),
            sent_time: envelope.sent_time.map(DateTime),
            content_type: incoming.content_type.clone(),
            redelivered: ctx.redelivered(),
            retry_attempt: ctx.attempt().saturating_sub(1),
            headers: object(&envelope.headers),
            transport_headers: object(&incoming.headers),
            host: envelope.host.as_deref().map(json).unwrap_or_default(),
            message: json(&envelope.message),
        }
    }

    /// The message as a Rust contract.
    ///
    /// # Panics
    /// If it is none.
    pub fn message<M: Message>(&self) -> M {
        serde_json::from_value(self.message.clone())
            .unwrap_or_else(|error| panic!("{error}: {}", self.message))
    }
}
