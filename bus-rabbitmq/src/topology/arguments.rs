//! Settings of exchanges and queues as arguments of a declaration.
//!
//! RabbitMQ compares those that it knows (`x-queue-type`, `x-expires`, `x-message-ttl`,
//! `x-max-length`, `x-overflow`, `x-dead-letter-…`, `x-delivery-limit`, `x-single-active-consumer`
//! and the like) with the arguments of an existing queue: one more or less is a mismatch. It takes
//! and ignores unknown ones. 32 and 64 bits of a number compare equal.

use std::fmt::Write as _;
use std::time::Duration;

use bus_core::topology::{ExchangeKind, Overflow, Queue, QueueKind};
use bus_core::transport::TransportError;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::convert::{short, to_value};

/// Converts the kind of an exchange.
pub(super) fn kind(kind: ExchangeKind) -> lapin::ExchangeKind {
    match kind {
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Headers => lapin::ExchangeKind::Headers,
    }
}

/// Makes the arguments of a queue; a setting wins over an argument of its name.
///
/// A setting that is not made is left out, so that a policy of the operator may set it. A classic
/// queue has no `x-queue-type`: RabbitMQ takes none and `classic` as the same, MassTransit sends
/// none.
pub(super) fn arguments(queue: &Queue) -> Result<FieldTable, TransportError> {
    let mut arguments = FieldTable::default();
    for (name, value) in &queue.arguments {
        arguments.insert(short("queue argument", name)?, to_value(value)?);
    }
    let mut set = |name: &'static str, value: Option<AMQPValue>| {
        if let Some(value) = value {
            arguments.insert(name.into(), value);
        }
    };
    let queue_type = match queue.kind {
        QueueKind::Classic => None,
        QueueKind::Quorum => Some(text("quorum")),
        QueueKind::Stream => Some(text("stream")),
    };
    set("x-queue-type", queue_type);
    set("x-expires", queue.expires.map(millis));
    set("x-message-ttl", queue.message_ttl.map(millis));
    set("x-max-length", queue.max_length.map(number));
    let overflow = queue.overflow.map(|overflow| match overflow {
        Overflow::DropHead => text("drop-head"),
        Overflow::RejectPublish => text("reject-publish"),
    });
    set("x-overflow", overflow);
    set(
        "x-max-priority",
        queue.max_priority.map(|highest| number(highest.into())),
    );
    let single = queue
        .single_active_consumer
        .then_some(AMQPValue::Boolean(true));
    set("x-single-active-consumer", single);
    set(
        "x-delivery-limit",
        queue.delivery_limit.map(|limit| number(limit.into())),
    );
    if let Some(dead_letter) = &queue.dead_letter {
        set("x-dead-letter-exchange", Some(text(&dead_letter.exchange)));
        let key = dead_letter.routing_key.as_deref().map(text);
        set("x-dead-letter-routing-key", key);
    }
    Ok(arguments)
}

pub(super) fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Converts a count to the signed 64 bits that RabbitMQ reads.
fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Converts to whole milliseconds, as the broker counts time.
fn millis(duration: Duration) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Formats arguments as people write them.
pub(super) fn shown(arguments: &FieldTable) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in arguments.inner().iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let shown = match value {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            AMQPValue::LongInt(number) => number.to_string(),
            AMQPValue::Boolean(value) => value.to_string(),
            other => format!("{other:?}"),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}={shown}", ShortString::as_str(name));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use bus_core::topology::DeadLetter;

    use super::*;

    #[test]
    fn a_plain_queue_has_no_arguments() {
        assert_eq!(shown(&arguments(&Queue::classic("q")).unwrap()), "{}");
    }

    #[test]
    fn every_setting_becomes_an_argument() {
        let queue = Queue {
            kind: QueueKind::Quorum,
            expires: Some(Duration::from_secs(60)),
            message_ttl: Some(Duration::from_millis(1500)),
            max_length: Some(7),
            overflow: Some(Overflow::RejectPublish),
            max_priority: Some(9),
            single_active_consumer: true,
            delivery_limit: Some(1000),
            dead_letter: Some(DeadLetter {
                exchange: String::new(),
                routing_key: Some("q_error".to_owned()),
            }),
            arguments: [("x-own".to_owned(), 5.into())].into(),
            ..Queue::classic("q")
        };
        assert_eq!(
            shown(&arguments(&queue).unwrap()),
            "{x-dead-letter-exchange=, x-dead-letter-routing-key=q_error, x-delivery-limit=1000, x-expires=60000, \
             x-max-length=7, x-max-priority=9, x-message-ttl=1500, x-overflow=reject-publish, x-own=5, \
             x-queue-type=quorum, x-single-active-consumer=true}"
        );
    }
}
