//! Arguments of a queue, in the one form that RabbitMQ compares, and their meaning.

use std::collections::BTreeMap;
use std::time::Duration;

use bus_core::message::HeaderValue;
use bus_core::topology::{self, DeadLetter, QueueKind};
use bus_core::transport::TransportError;

use crate::broker::errors;

/// Default delivery limit of a quorum queue: RabbitMQ's own since 4.0.
const DEFAULT_DELIVERY_LIMIT: u32 = 20;

/// `x-` arguments by name.
pub(crate) type Arguments = BTreeMap<String, HeaderValue>;

/// Collects the arguments under which a queue is declared.
///
/// These are its typed settings and its further arguments, which win.
pub(crate) fn arguments(queue: &topology::Queue) -> Arguments {
    let mut arguments = Arguments::new();
    let mut set = |name: &str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            arguments.insert(name.to_owned(), value);
        }
    };
    let kind = match queue.kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
        QueueKind::Stream => "stream",
    };
    set("x-queue-type", Some(kind.into()));
    set("x-expires", queue.expires.map(millis));
    set("x-message-ttl", queue.message_ttl.map(millis));
    set("x-max-length", queue.max_length.map(HeaderValue::from));
    let overflow = queue.overflow.map(|overflow| match overflow {
        topology::Overflow::DropHead => "drop-head",
        topology::Overflow::RejectPublish => "reject-publish",
    });
    set("x-overflow", overflow.map(HeaderValue::from));
    let max_priority = queue.max_priority.map(i32::from);
    set("x-max-priority", max_priority.map(HeaderValue::from));
    let single = queue.single_active_consumer.then_some(true);
    set("x-single-active-consumer", single.map(HeaderValue::from));
    let limit = queue.delivery_limit;
    set("x-delivery-limit", limit.map(HeaderValue::from));
    if let Some(DeadLetter {
        exchange,
        routing_key,
    }) = &queue.dead_letter
    {
        set("x-dead-letter-exchange", Some(exchange.as_str().into()));
        let key = routing_key.as_deref();
        set("x-dead-letter-routing-key", key.map(HeaderValue::from));
    }
    arguments.extend(queue.arguments.clone());
    arguments
}

fn millis(duration: Duration) -> HeaderValue {
    u64::try_from(duration.as_millis()).map_or(HeaderValue::Int(i64::MAX), HeaderValue::from)
}

/// Meaning of the arguments of a queue.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) quorum: bool,
    pub(crate) expires: Option<Duration>,
    pub(crate) message_ttl: Option<Duration>,
    pub(crate) max_length: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) max_priority: u8,
    pub(crate) single_active_consumer: bool,
    pub(crate) delivery_limit: Option<u32>,
    pub(crate) dead_letter: Option<DeadLetter>,
}

/// Reaction of a full queue to a further message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    DropHead,
    RejectPublish,
    /// Refuses, and dead-letters the refused message.
    RejectPublishDeadLetter,
}

impl Settings {
    /// Reads the arguments of the queue `name`.
    ///
    /// # Errors
    /// Fails for values that RabbitMQ would refuse, and for streams.
    pub(crate) fn read(name: &str, arguments: &Arguments) -> Result<Self, TransportError> {
        let read = Reader { name, arguments };
        let quorum = match read.text("x-queue-type")? {
            None | Some("classic") => false,
            Some("quorum") => true,
            Some("stream") => return Err(errors::no_streams(name)),
            Some(_) => return Err(read.invalid("x-queue-type", "there is no such kind of queue")),
        };
        let overflow = match read.text("x-overflow")? {
            None | Some("drop-head") => Overflow::DropHead,
            Some("reject-publish") => Overflow::RejectPublish,
            Some("reject-publish-dlx") => Overflow::RejectPublishDeadLetter,
            Some(_) => return Err(read.invalid("x-overflow", "there is no such behaviour")),
        };
        let expires = read.duration("x-expires")?;
        if expires.is_some_and(|expires| expires.is_zero()) {
            return Err(read.invalid("x-expires", "it must be more than zero"));
        }
        let max_priority = read.number("x-max-priority")?.map(u8::try_from);
        let Ok(max_priority) = max_priority.transpose() else {
            return Err(read.invalid("x-max-priority", "it must be 0 to 255"));
        };
        Ok(Self {
            quorum,
            expires,
            message_ttl: read.duration("x-message-ttl")?,
            max_length: read.number("x-max-length")?,
            overflow,
            max_priority: max_priority.unwrap_or(0),
            single_active_consumer: read.flag("x-single-active-consumer"),
            delivery_limit: read.delivery_limit(quorum)?,
            dead_letter: read.dead_letter()?,
        })
    }
}

struct Reader<'a> {
    name: &'a str,
    arguments: &'a Arguments,
}

impl<'a> Reader<'a> {
    fn invalid(&self, argument: &str, why: &str) -> TransportError {
        errors::invalid_argument(self.name, argument, why)
    }

    fn text(&self, argument: &str) -> Result<Option<&'a str>, TransportError> {
        self.arguments
            .get(argument)
            .map(|value| {
                let text = value.as_str();
                text.ok_or_else(|| self.invalid(argument, "it must be text"))
            })
            .transpose()
    }

    fn number(&self, argument: &str) -> Result<Option<u64>, TransportError> {
        self.arguments
            .get(argument)
            .map(|value| {
                let number = value.as_i64().and_then(|number| u64::try_from(number).ok());
                number.ok_or_else(|| self.invalid(argument, "it must be a number, zero or more"))
            })
            .transpose()
    }

    fn duration(&self, argument: &str) -> Result<Option<Duration>, TransportError> {
        Ok(self.number(argument)?.map(Duration::from_millis))
    }

    fn flag(&self, argument: &str) -> bool {
        self.arguments
            .get(argument)
            .and_then(HeaderValue::as_bool)
            .unwrap_or(false)
    }

    /// Delivery limit; `None` if there is none.
    ///
    /// Only quorum queues count; any negative number means that there is no limit.
    fn delivery_limit(&self, quorum: bool) -> Result<Option<u32>, TransportError> {
        if !quorum {
            return Ok(None);
        }
        let Some(value) = self.arguments.get("x-delivery-limit") else {
            return Ok(Some(DEFAULT_DELIVERY_LIMIT));
        };
        let Some(number) = value.as_i64() else {
            return Err(self.invalid("x-delivery-limit", "it must be a number"));
        };
        Ok((number >= 0).then(|| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn dead_letter(&self) -> Result<Option<DeadLetter>, TransportError> {
        let routing_key = self.text("x-dead-letter-routing-key")?;
        let Some(exchange) = self.text("x-dead-letter-exchange")? else {
            return match routing_key {
                None => Ok(None),
                Some(_) => Err(self.invalid(
                    "x-dead-letter-routing-key",
                    "it needs an x-dead-letter-exchange",
                )),
            };
        };
        Ok(Some(DeadLetter {
            exchange: exchange.to_owned(),
            routing_key: routing_key.map(str::to_owned),
        }))
    }
}
