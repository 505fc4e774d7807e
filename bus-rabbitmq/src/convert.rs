//! Between the seam's messages and AMQP's.

use std::time::Duration;

use bus_core::headers::{HeaderName, HeaderValue, Headers};
use bus_core::transport::{Incoming, Original, Outgoing, TransportError, TransportErrorKind};
use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use lapin::{BasicProperties, Confirmation};

use crate::flight::{Confirmed, Returned};
use crate::original;
use crate::sanitize::MAX_DEPTH;

/// Tells which of our publishes came back; noise for everybody else, and taken off on receipt.
const SEQUENCE: &str = "x-bus-pub-seq-no";

/// The publisher's own numbering in the .NET client; the same kind of noise.
const DOTNET_SEQUENCE: &str = "x-dotnet-pub-seq-no";

const DELIVERY_COUNT: &str = "x-delivery-count";
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// Headers travel in one frame, which the broker limits to 128 KiB unless told otherwise; a larger one ends the
/// connection.
const MAX_HEADERS: usize = 120 * 1024;

/// What the frame of the headers is to have room for beside them.
const OTHER_PROPERTIES: usize = 8 * 1024;

/// The longest time to live that RabbitMQ takes, ten years: it closes the channel of one that is longer.
const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// A name or key; AMQP cannot carry more than 255 bytes.
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

/// Refuses what AMQP or the broker could never carry; cheaper than to make the properties.
pub(crate) fn check(outgoing: &Outgoing) -> Result<(), TransportError> {
    let fits = |what, text: &str| match text.len() {
        ..=255 => Ok(()),
        _ => short(what, text).map(|_| ()),
    };
    fits("exchange or queue name", outgoing.target.name())?;
    fits("routing key", &outgoing.routing_key)?;
    for (name, _) in outgoing.headers.iter() {
        fits("header name", name)?;
    }
    check_size(&outgoing.headers)
}

fn check_size(headers: &Headers) -> Result<(), TransportError> {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.len() + 6 + weight(value));
    fits_frame(sizes.sum(), MAX_HEADERS)
}

/// Refuses headers that take more bytes than a frame has for them.
pub(crate) fn fits_frame(size: usize, most: usize) -> Result<(), TransportError> {
    if size > most {
        return Err(TransportError::new(
            TransportErrorKind::TooLarge,
            format!("the headers have about {size} bytes; RabbitMQ takes at most {most}"),
        ));
    }
    Ok(())
}

/// How many bytes headers may take where a frame has so many: the rest is left for the other properties.
pub(crate) fn most_headers(frame_max: u32) -> usize {
    match usize::try_from(frame_max) {
        Ok(frame) if frame > 0 => frame - (frame / 2).min(OTHER_PROPERTIES),
        _ => MAX_HEADERS,
    }
}

/// Properties and headers of a message to publish. `sequence` marks one that may come back.
/// Gives the size of the headers too.
pub(crate) fn properties(
    outgoing: &Outgoing,
    sequence: Option<u64>,
) -> Result<(BasicProperties, usize), TransportError> {
    let original = outgoing.original.as_ref().and_then(Original::get);
    let mut headers = match original {
        None => table(outgoing.headers.iter())?,
        Some(original) => original::headers(original, &outgoing.headers)?,
    };
    if let Some(sequence) = sequence {
        let sequence = i64::try_from(sequence).unwrap_or_default();
        headers.insert(SEQUENCE.into(), AMQPValue::LongLongInt(sequence));
    }
    let size = table_size(&headers);
    fits_frame(size, MAX_HEADERS)?;
    let properties = original.map(original::properties).unwrap_or_default();
    let mut properties = properties.with_delivery_mode(if outgoing.durable {
        PERSISTENT
    } else {
        TRANSIENT
    });
    if !headers.inner().is_empty() {
        properties = properties.with_headers(headers);
    }
    if let Some(content_type) = &outgoing.content_type {
        properties = properties.with_content_type(short("content type", content_type)?);
    }
    if let Some(id) = &outgoing.message_id {
        properties = properties.with_message_id(short("message id", id)?);
    }
    if let Some(id) = &outgoing.correlation_id {
        properties = properties.with_correlation_id(short("correlation id", id)?);
    }
    if let Some(priority) = outgoing.priority {
        properties = properties.with_priority(priority);
    }
    if let Some(ttl) = outgoing.ttl {
        // Rounded up, as a TTL of 0 would drop the message unless a consumer is waiting.
        let millis = ttl.min(MAX_TTL).as_nanos().div_ceil(1_000_000);
        properties = properties.with_expiration(short("expiration", &millis.to_string())?);
    }
    Ok((properties, size))
}

/// What the client says of a message that was published.
pub(crate) fn confirmed(confirmation: Confirmation) -> Confirmed {
    let acked = confirmation.is_ack();
    let returned = confirmation.take_message().and_then(|message| {
        Some(Returned {
            mark: sequence_of(&message.properties)?,
            reason: message.reply_text.to_string(),
        })
    });
    Confirmed { acked, returned }
}

/// The mark of a message that came back.
fn sequence_of(properties: &BasicProperties) -> Option<u64> {
    match properties.headers().as_ref()?.inner().get(SEQUENCE)? {
        AMQPValue::LongLongInt(sequence) => u64::try_from(*sequence).ok(),
        _ => None,
    }
}

/// What a delivery says. The body is moved, not copied.
pub(crate) fn incoming(delivery: Delivery) -> Incoming {
    let Delivery {
        exchange,
        routing_key,
        redelivered,
        properties,
        data,
        ..
    } = delivery;
    let ReadHeaders {
        headers,
        count,
        delivery_count,
    } = ReadHeaders::of(&properties);
    // Of names that differ in case one is left.
    let says_more = headers.len() < count || original::says_more(&properties);
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let mut incoming = Incoming {
        content_type: text(properties.content_type()),
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        headers,
        exchange: exchange.to_string(),
        routing_key: routing_key.to_string(),
        redelivered,
        delivery_count,
        priority: *properties.priority(),
        ttl: properties
            .expiration()
            .as_ref()
            .and_then(|ttl| ttl.as_str().parse().ok())
            .map(Duration::from_millis),
        durable: *properties.delivery_mode() == Some(PERSISTENT),
        body: Bytes::from(data),
        original: None,
    };
    if says_more {
        incoming.original = Some(Original::new(properties));
    }
    incoming
}

struct ReadHeaders {
    headers: Headers,
    /// How many were read.
    count: usize,
    /// How often the queue counted a delivery before.
    delivery_count: Option<u32>,
}

impl ReadHeaders {
    fn of(properties: &BasicProperties) -> Self {
        let (mut count, mut delivery_count) = (0, None);
        let entries = properties.headers().iter().flat_map(FieldTable::inner);
        let headers = entries
            .filter_map(|(name, value)| match name.as_str() {
                name if is_private(name) => None,
                DELIVERY_COUNT | ACQUIRED_COUNT => {
                    let times = from_value(value, 0).as_i64();
                    let times = times.and_then(|times| u32::try_from(times).ok());
                    delivery_count = delivery_count.max(times);
                    None
                }
                name => {
                    count += 1;
                    Some((HeaderName::from(name.to_owned()), from_value(value, 0)))
                }
            })
            .collect();
        Self {
            headers,
            count,
            delivery_count,
        }
    }
}

/// Whether a header belongs to one publisher's own bookkeeping.
pub(crate) fn is_private(name: &str) -> bool {
    matches!(name, SEQUENCE | DOTNET_SEQUENCE)
}

fn table<'a>(
    values: impl Iterator<Item = (&'a str, &'a HeaderValue)>,
) -> Result<FieldTable, TransportError> {
    let mut table = FieldTable::default();
    for (name, value) in values {
        table.insert(short("header name", name)?, to_value(value)?);
    }
    Ok(table)
}

/// A header value as .NET's client writes it: 32 bits where they suffice.
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

fn text_or_bytes(bytes: &[u8]) -> HeaderValue {
    match std::str::from_utf8(bytes) {
        Ok(text) => HeaderValue::Text(text.to_owned()),
        Err(_) => HeaderValue::Bytes(bytes.to_vec()),
    }
}

/// How many bytes a table takes on the wire.
fn table_size(table: &FieldTable) -> usize {
    let entries = table.inner().iter();
    let sizes = entries.map(|(name, value)| 2 + name.as_str().len() + value_size(value));
    4 + sizes.sum::<usize>()
}

fn value_size(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.as_slice().len(),
        AMQPValue::FieldArray(values) => {
            let sizes = values.as_slice().iter().map(|value| 1 + value_size(value));
            4 + sizes.sum::<usize>()
        }
        AMQPValue::FieldTable(table) => table_size(table),
    }
}

/// About how many bytes a value takes on the wire.
fn weight(value: &HeaderValue) -> usize {
    match value {
        HeaderValue::Text(text) => text.len(),
        HeaderValue::Bytes(bytes) => bytes.len(),
        HeaderValue::List(values) => values.iter().map(|value| 5 + weight(value)).sum(),
        HeaderValue::Map(values) => values
            .iter()
            .map(|(name, value)| 6 + name.len() + weight(value))
            .sum(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bus_core::transport::Target;

    use super::*;

    fn outgoing(headers: Headers) -> Outgoing {
        Outgoing {
            headers,
            ..Outgoing::new(Target::Queue("q".into()), Bytes::new())
        }
    }

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
    fn nesting_by_strangers_is_bounded() {
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

    #[test]
    fn a_ttl_below_a_millisecond_is_not_zero() {
        let mut message = outgoing(Headers::new());
        message.ttl = Some(Duration::from_micros(1));
        let properties = properties(&message, None).unwrap().0;
        assert_eq!(properties.expiration().as_ref().unwrap().as_str(), "1");
    }

    #[test]
    fn a_ttl_is_never_longer_than_the_broker_takes() {
        let mut message = outgoing(Headers::new());
        for (ttl, expected) in [
            (MAX_TTL, "315360000000"),
            (MAX_TTL + Duration::from_millis(1), "315360000000"),
            (Duration::MAX, "315360000000"),
            (Duration::from_millis(315_359_999_999), "315359999999"),
        ] {
            message.ttl = Some(ttl);
            let properties = properties(&message, None).unwrap().0;
            assert_eq!(properties.expiration().as_ref().unwrap().as_str(), expected);
        }
    }

    #[test]
    fn a_frame_has_room_for_the_other_properties() {
        assert_eq!(most_headers(131_072), MAX_HEADERS);
        assert_eq!(most_headers(16_384), 8 * 1024);
        assert_eq!(most_headers(4096), 2048);
        assert_eq!(most_headers(0), MAX_HEADERS, "no limit");
    }

    #[test]
    fn headers_that_differ_in_case_count_all() {
        let mut table = FieldTable::default();
        for name in ["Case", "case"] {
            let half = vec![b'x'; MAX_HEADERS / 2];
            table.insert(name.into(), AMQPValue::LongString(half.into()));
        }
        let original = BasicProperties::default().with_headers(table);
        let mut message = outgoing(ReadHeaders::of(&original).headers);
        assert!(check(&message).is_ok(), "one of the two is read");
        message.original = Some(Original::new(original));
        let error = properties(&message, None).unwrap_err();
        assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    }

    #[test]
    fn what_the_broker_would_choke_on_is_refused_here() {
        let large: Headers = [("h", "x".repeat(MAX_HEADERS))].into_iter().collect();
        let long: Headers = [("n".repeat(256), 1)].into_iter().collect();
        for headers in [large, long] {
            let error = properties(&outgoing(headers), None).unwrap_err();
            assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
        }
    }
}
