//! Conversion between the messages of `bus_core::transport` and those of AMQP.
//!
//! | ours | AMQP (class `basic`) |
//! |---|---|
//! | content type, message id, correlation id | the properties of these names, short strings |
//! | headers | property `headers`, a table |
//! | durable | `delivery-mode` 2, else 1 |
//! | ttl | `expiration`: milliseconds, as text |
//! | priority | `priority` |
//! | mandatory | flag of `basic.publish`, and a private header that marks the message |
//! | redelivered | flag of `basic.deliver` |
//! | delivery count | headers `x-delivery-count` and `x-acquired-count` of quorum queues |
//! | routing key, exchange of a delayed message | two private headers |
//!
//! A short string holds 255 bytes; a longer one is refused, never cut. What AMQP has beyond that is
//! kept aside, for a move to another queue.

mod confirmation;
mod original;
mod size;
mod values;

use std::time::Duration;

use bus_core::Headers;
use bus_core::message::{HeaderName, HeaderValue};
use bus_core::transport::{Incoming, Original, Outgoing, TransportError};
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use size::{MAX_HEADERS, check_size, table_size};
use values::{SEQUENCE, from_value, is_private, table};

pub(crate) use confirmation::{Confirmed, Returned, confirmed};
pub(crate) use size::{fits_frame, most_headers};
pub(crate) use values::{DELAYED_EXCHANGE, DELAYED_KEY, MAX_DEPTH, short, to_value};

/// Header of quorum queues with the number of earlier deliveries.
///
/// From RabbitMQ 4.3 on, only those that failed count.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Header of quorum queues with the number of earlier deliveries of any end.
///
/// Written from RabbitMQ 4.3 on.
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// The longest time to live that RabbitMQ takes: ten years.
///
/// It closes the channel of a message with a longer one.
const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Beginnings of the headers that RabbitMQ writes when it dead-letters a message.
const DEATHS: [&str; 3] = ["x-death", "x-first-death-", "x-last-death-"];

/// Delivery mode of a message that is lost when the broker restarts.
const TRANSIENT: u8 = 1;
/// Delivery mode of a message that a durable queue keeps.
const PERSISTENT: u8 = 2;

/// Refuses messages that AMQP or the broker could never carry.
///
/// Cheaper than making the properties.
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

/// Makes the properties and headers of a message to publish.
///
/// `sequence` marks a message that may be returned. The second value is the size of the headers,
/// in bytes.
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

/// Converts a delivery; the body is moved, not copied.
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
        delayed,
    } = ReadHeaders::of(&properties);
    // Of names that differ only in case, one is left.
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
    if let Some(came) = delayed {
        came.restore(&mut incoming);
    }
    if says_more {
        incoming.original = Some(Original::new(properties));
    }
    incoming
}

/// Route of a message before it was delayed.
struct Delayed {
    exchange: String,
    routing_key: String,
}

impl Delayed {
    /// Gives a delivery the route that its sender has named, and no trace of its wait.
    fn restore(self, incoming: &mut Incoming) {
        incoming.exchange = self.exchange;
        incoming.routing_key = self.routing_key;
        incoming.headers.retain(|name, _| {
            !DEATHS.iter().any(|death| {
                name.get(..death.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(death))
            })
        });
    }
}

/// Headers of a delivery, without those that are not the sender's.
struct ReadHeaders {
    headers: Headers,
    /// Number of headers that were read.
    count: usize,
    /// Number of earlier deliveries, as counted by the queue.
    delivery_count: Option<u32>,
    /// Route of a message that was delayed.
    delayed: Option<Delayed>,
}

impl ReadHeaders {
    /// Reads the headers.
    ///
    /// The counts of earlier deliveries become one number, the larger of the two.
    fn of(properties: &BasicProperties) -> Self {
        let (mut count, mut delivery_count) = (0, None);
        let (mut exchange, mut routing_key) = (None, String::new());
        let text = |value: &AMQPValue| match from_value(value, 0) {
            HeaderValue::Text(text) => text,
            _ => String::new(),
        };
        let entries = properties.headers().iter().flat_map(FieldTable::inner);
        let headers = entries
            .filter_map(|(name, value)| match name.as_str() {
                DELAYED_EXCHANGE => {
                    exchange = Some(text(value));
                    None
                }
                DELAYED_KEY => {
                    routing_key = text(value);
                    None
                }
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
        let delayed = exchange.map(|exchange| Delayed {
            exchange,
            routing_key,
        });
        Self {
            headers,
            count,
            delivery_count,
            delayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use bus_core::transport::{Target, TransportErrorKind};

    use super::*;

    fn outgoing(headers: Headers) -> Outgoing {
        Outgoing {
            headers,
            ..Outgoing::new(Target::Queue("q".into()), Bytes::new())
        }
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
