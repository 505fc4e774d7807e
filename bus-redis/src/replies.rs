//! Replies as text, with the kinds of headers that JSON does not have.

use std::error::Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bus_core::Headers;
use bus_core::idempotency::StoredReply;
use bus_core::message::HeaderValue;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Row {
    types: Vec<String>,
    body: Body,
    headers: Vec<(String, Value)>,
}

/// A message part: text where it is UTF-8, as JSON is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    Text(String),
    Base64(String),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    /// Its bits, as JSON has no infinity.
    Float(u64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
    Timestamp(i64),
    Bytes(String),
}

pub(crate) fn to_text(replies: Vec<StoredReply>) -> Result<String, serde_json::Error> {
    let rows: Vec<_> = replies.into_iter().map(Row::from).collect();
    serde_json::to_string(&rows)
}

pub(crate) fn from_text(text: &[u8]) -> Result<Vec<StoredReply>, Box<dyn Error + Send + Sync>> {
    let rows: Vec<Row> = serde_json::from_slice(text)?;
    rows.into_iter().map(StoredReply::try_from).collect()
}

impl From<StoredReply> for Row {
    fn from(reply: StoredReply) -> Self {
        let body = match String::from_utf8(reply.message.into()) {
            Ok(text) => Body::Text(text),
            Err(other) => Body::Base64(STANDARD.encode(other.as_bytes())),
        };
        let headers = reply.headers.iter();
        Self {
            types: reply.message_types,
            body,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
        }
    }
}

impl TryFrom<Row> for StoredReply {
    type Error = Box<dyn Error + Send + Sync>;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let mut headers = Headers::new();
        for (name, value) in row.headers {
            headers.insert(name, HeaderValue::try_from(value)?);
        }
        let message = match row.body {
            Body::Text(text) => text.into(),
            Body::Base64(text) => STANDARD.decode(text)?.into(),
        };
        Ok(Self {
            message_types: row.types,
            message,
            headers,
        })
    }
}

impl From<&HeaderValue> for Value {
    fn from(value: &HeaderValue) -> Self {
        match value {
            HeaderValue::Null => Self::Null,
            HeaderValue::Bool(value) => Self::Bool(*value),
            HeaderValue::Int(value) => Self::Int(*value),
            HeaderValue::Unsigned(value) => Self::Unsigned(*value),
            HeaderValue::Float(value) => Self::Float(value.to_bits()),
            HeaderValue::Text(value) => Self::Text(value.clone()),
            HeaderValue::List(values) => Self::List(values.iter().map(Self::from).collect()),
            HeaderValue::Map(values) => {
                let values = values.iter();
                Self::Map(
                    values
                        .map(|(name, value)| (name.clone(), value.into()))
                        .collect(),
                )
            }
            HeaderValue::Timestamp(value) => Self::Timestamp(*value),
            HeaderValue::Bytes(value) => Self::Bytes(STANDARD.encode(value)),
        }
    }
}

impl TryFrom<Value> for HeaderValue {
    type Error = base64::DecodeError;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Int(value) => Self::Int(value),
            Value::Unsigned(value) => Self::Unsigned(value),
            Value::Float(value) => Self::Float(f64::from_bits(value)),
            Value::Text(value) => Self::Text(value),
            Value::List(values) => {
                let values = values.into_iter().map(Self::try_from);
                Self::List(values.collect::<Result<_, _>>()?)
            }
            Value::Map(values) => {
                let values = values.into_iter();
                let values = values.map(|(name, value)| Ok((name, value.try_into()?)));
                Self::Map(values.collect::<Result<_, _>>()?)
            }
            Value::Timestamp(value) => Self::Timestamp(value),
            Value::Bytes(value) => Self::Bytes(STANDARD.decode(value)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_back_as_they_were() {
        let mut headers = Headers::new();
        let values = [
            HeaderValue::Null,
            HeaderValue::Bool(true),
            HeaderValue::Int(-1),
            HeaderValue::Unsigned(u64::MAX),
            HeaderValue::Float(f64::INFINITY),
            HeaderValue::Float(1.0),
            HeaderValue::Timestamp(i64::MAX),
            HeaderValue::Bytes(vec![0xff, 0]),
        ];
        for (number, value) in values.iter().enumerate() {
            headers.insert(number.to_string(), value.clone());
        }
        headers.insert("list", values.to_vec());
        let map = [("ü".to_owned(), HeaderValue::Int(1))];
        headers.insert("map", HeaderValue::Map(map.into()));
        let reply = |message: &'static [u8]| StoredReply {
            message_types: vec!["urn:message:A:B".to_owned()],
            message: message.into(),
            headers: headers.clone(),
        };
        let replies = vec![reply(b"{}"), reply(b"\xff\x00")];
        let text = to_text(replies.clone()).unwrap();
        assert_eq!(from_text(text.as_bytes()).unwrap(), replies);
        from_text(b"[{}]").expect_err("it is no reply");
    }
}
