//! Errors of the broker, with texts that name the entity.

use std::fmt;

use bus_core::transport::{TransportError, TransportErrorKind as Kind};

/// Length of the longest name or routing key of AMQP 0-9-1, in bytes.
const MAX_NAME: usize = 255;

pub(crate) fn closed() -> TransportError {
    TransportError::new(
        Kind::Closed,
        "this connection to the in-memory broker is closed",
    )
}

pub(crate) fn too_late() -> TransportError {
    TransportError::new(
        Kind::TimedOut,
        "the deadline had passed before the message was sent",
    )
}

pub(crate) fn no_exchange(name: &str) -> TransportError {
    TransportError::new(Kind::Unroutable, format!("there is no exchange '{name}'"))
}

pub(crate) fn no_queue(name: &str) -> TransportError {
    TransportError::new(Kind::Unroutable, format!("there is no queue '{name}'"))
}

pub(crate) fn unroutable(exchange: &str, key: &str) -> TransportError {
    if exchange.is_empty() {
        return no_queue(key);
    }
    TransportError::new(
        Kind::Unroutable,
        format!("no queue takes what is sent to exchange '{exchange}' with routing key '{key}'"),
    )
}

pub(crate) fn full(queue: &str, length: u64) -> TransportError {
    TransportError::new(
        Kind::Nacked,
        format!(
            "queue '{queue}' is full: its x-max-length is {length}, and its x-overflow refuses more"
        ),
    )
}

pub(crate) fn locked(queue: &str) -> TransportError {
    TransportError::new(
        Kind::AccessRefused,
        format!("queue '{queue}' is exclusive to another connection"),
    )
}

pub(crate) fn exclusive_use(queue: &str) -> TransportError {
    TransportError::new(
        Kind::AccessRefused,
        format!("queue '{queue}' has a consumer already, and one of the two wants it exclusively"),
    )
}

pub(crate) fn reserved(name: &str) -> TransportError {
    TransportError::new(
        Kind::AccessRefused,
        if name.is_empty() {
            "the default exchange cannot be declared or bound".to_owned()
        } else {
            format!("'{name}': names that begin with 'amq.' belong to the broker")
        },
    )
}

pub(crate) fn no_streams(queue: &str) -> TransportError {
    TransportError::new(
        Kind::Unsupported,
        format!("queue '{queue}': the in-memory broker has no streams"),
    )
}

pub(crate) fn no_runtime() -> TransportError {
    TransportError::new(
        Kind::Unsupported,
        "a delayed message needs a tokio runtime with time enabled",
    )
}

/// Creates an error for an entity that exists with another value.
///
/// The text is RabbitMQ's own, so that knowledge of it helps here too.
pub(crate) fn inequivalent(
    entity: &Entity<'_>,
    argument: &str,
    received: impl fmt::Display,
    current: impl fmt::Display,
) -> TransportError {
    TransportError::new(
        Kind::Mismatch,
        format!(
            "inequivalent arg '{argument}' for {entity}: received {received} but current is {current}"
        ),
    )
}

pub(crate) fn invalid_argument(queue: &str, argument: &str, why: &str) -> TransportError {
    TransportError::new(
        Kind::Mismatch,
        format!("invalid arg '{argument}' for queue '{queue}': {why}"),
    )
}

/// Exchange or queue, named as RabbitMQ names it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entity<'a> {
    Exchange(&'a str),
    Queue(&'a str),
}

impl fmt::Display for Entity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange '{name}'"),
            Self::Queue(name) => write!(f, "queue '{name}'"),
        }
    }
}

/// Refuses a name that AMQP could not carry.
pub(crate) fn check_length(what: &str, name: &str) -> Result<(), TransportError> {
    if name.len() <= MAX_NAME {
        return Ok(());
    }
    let start: String = name.chars().take(40).collect();
    let length = name.len();
    Err(TransportError::new(
        Kind::TooLarge,
        format!(
            "the {what} '{start}…' has {length} bytes, more than the {MAX_NAME} that AMQP carries"
        ),
    ))
}
