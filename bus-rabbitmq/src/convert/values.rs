//! Header values as AMQP writes them.
//!
//! RabbitMQ and its clients agree on more types than the specification has, and on other letters
//! for some: what .NET writes is what MassTransit's services read, so that is what is written here.
//! All types that RabbitMQ passes on are read.

use bus_core::message::HeaderValue;
use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};

/// Depth to which nested lists and tables of headers are read.
///
/// Deeper ones become null: nothing bounds what a foreign message nests, and each level takes
/// stack.
pub(crate) const MAX_DEPTH: usize = 32;

/// Header that identifies a returned message of ours.
///
/// It means nothing to other applications, and is removed on receipt.
pub(super) const SEQUENCE: &str = "x-bus-pub-seq-no";

/// Header with the publisher's own numbering in the .NET client.
///
/// It is removed on receipt as well.
const DOTNET_SEQUENCE: &str = "x-dotnet-pub-seq-no";

/// Header with the exchange to which a delayed message was sent.
///
/// It becomes the exchange of the delivery, and is removed on receipt.
pub(crate) const DELAYED_EXCHANGE: &str = "x-bus-delayed-exchange";

/// Header with the routing key of a delayed message.
///
/// It becomes the routing key of the delivery, and is removed on receipt.
pub(crate) const DELAYED_KEY: &str = "x-bus-delayed-routing-key";

/// Converts a name or key; refuses one above the 255 bytes that AMQP carries.
pub(crate) fn short(what: &str, text: &str) -> Result<ShortString, TransportError> {
    ShortString::try_new(text).map_err(|_| {
        let start: String = text.chars().take(60).collect();
        TransportError::new(
            TransportErrorKind::TooLarge,
            format!(
                "the {what} `{start}…` has {} bytes; AMQP carries at most 255",
                text.len()
            ),
        )
    })
}

/// Returns `true` if a header belongs to one publisher's own bookkeeping.
pub(crate) fn is_private(name: &str) -> bool {
    matches!(
        name,
        SEQUENCE | DOTNET_SEQUENCE | DELAYED_EXCHANGE | DELAYED_KEY
    )
}

/// Converts headers to a table; fails for a name above 255 bytes.
pub(super) fn table<'a>(
    values: impl Iterator<Item = (&'a str, &'a HeaderValue)>,
) -> Result<FieldTable, TransportError> {
    let mut table = FieldTable::default();
    for (name, value) in values {
        table.insert(short("header name", name)?, to_value(value)?);
    }
    Ok(table)
}

/// Converts a header value as .NET's client does: 32 bits where they suffice.
pub(crate) fn to_value(value: &HeaderValue) -> Result<AMQPValue, TransportError> {
    Ok(match value {
        HeaderValue::Null => AMQPValue::Void,
        HeaderValue::Bool(value) => AMQPValue::Boolean(*value),
        HeaderValue::Int(value) => {
            i32::try_from(*value).map_or(AMQPValue::LongLongInt(*value), AMQPValue::LongInt)
        }
        // AMQP's tables know no unsigned 64 bits.
        HeaderValue::Unsigned(value) => AMQPValue::LongString(value.to_string().into()),
        HeaderValue::Float(value) => AMQPValue::Double(*value),
        HeaderValue::Text(value) => AMQPValue::LongString(value.as_str().into()),
        HeaderValue::List(values) => {
            let mut list = FieldArray::default();
            for value in values {
                list.push(to_value(value)?);
            }
            AMQPValue::FieldArray(list)
        }
        HeaderValue::Map(values) => {
            AMQPValue::FieldTable(table(values.iter().map(|(name, v)| (name.as_str(), v)))?)
        }
        HeaderValue::Timestamp(seconds) => match u64::try_from(*seconds) {
            Ok(seconds) => AMQPValue::Timestamp(seconds),
            Err(_) => AMQPValue::LongLongInt(*seconds),
        },
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(bytes.clone().into()),
    })
}

/// Converts a value that was read, at a depth of nesting.
///
/// Widths of numbers are lost, as ours has one; a move to another queue keeps the original.
pub(crate) fn from_value(value: &AMQPValue, depth: usize) -> HeaderValue {
    match value {
        AMQPValue::Void => HeaderValue::Null,
        AMQPValue::Boolean(value) => HeaderValue::Bool(*value),
        AMQPValue::ShortShortInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortShortUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::ShortUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongUInt(value) => HeaderValue::Int((*value).into()),
        AMQPValue::LongLongInt(value) => HeaderValue::Int(*value),
        AMQPValue::Float(value) => HeaderValue::Float((*value).into()),
        AMQPValue::Double(value) => HeaderValue::Float(*value),
        AMQPValue::DecimalValue(value) => {
            HeaderValue::Float(f64::from(value.value) / 10f64.powi(value.scale.into()))
        }
        AMQPValue::ShortString(value) => HeaderValue::Text(value.to_string()),
        AMQPValue::LongString(value) => text_or_bytes(value.as_bytes()),
        // .NET writes texts as bytes at times.
        AMQPValue::ByteArray(value) => text_or_bytes(value.as_slice()),
        AMQPValue::Timestamp(seconds) => {
            HeaderValue::Timestamp(i64::try_from(*seconds).unwrap_or(i64::MAX))
        }
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth >= MAX_DEPTH => {
            HeaderValue::Null
        }
        AMQPValue::FieldArray(values) => HeaderValue::List(
            values
                .as_slice()
                .iter()
                .map(|value| from_value(value, depth + 1))
                .collect(),
        ),
        AMQPValue::FieldTable(values) => HeaderValue::Map(
            values
                .inner()
                .iter()
                .map(|(name, value)| (name.to_string(), from_value(value, depth + 1)))
                .collect(),
        ),
    }
}

/// Reads bytes as text if they are UTF-8.
///
/// AMQP's long strings say nothing about their encoding.
fn text_or_bytes(bytes: &[u8]) -> HeaderValue {
    match std::str::from_utf8(bytes) {
        Ok(text) => HeaderValue::Text(text.to_owned()),
        Err(_) => HeaderValue::Bytes(bytes.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn header_values_survive_the_wire() {
        for value in [
            HeaderValue::Null,
            true.into(),
            7.into(),
            i64::MIN.into(),
            1.5.into(),
            "ß🚚".into(),
            HeaderValue::Timestamp(1_770_000_000),
            HeaderValue::Bytes(vec![0xff, 0]),
            HeaderValue::List(vec![1.into(), "x".into()]),
            HeaderValue::Map(BTreeMap::from([("a".to_owned(), HeaderValue::Null)])),
        ] {
            assert_eq!(from_value(&to_value(&value).unwrap(), 0), value);
        }
    }

    #[test]
    fn nesting_by_other_senders_is_bounded() {
        let mut value = AMQPValue::Void;
        for _ in 0..1000 {
            value = AMQPValue::FieldArray(vec![value].into());
        }
        let mut depth = 0;
        let mut read = &from_value(&value, 0);
        while let HeaderValue::List(values) = read {
            read = &values[0];
            depth += 1;
        }
        assert_eq!(depth, MAX_DEPTH);
    }
}
