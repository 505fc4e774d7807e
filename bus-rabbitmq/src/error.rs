//! Translation of the client's errors to the kinds of the transport seam.
//!
//! AMQP has two sorts of errors: a soft one closes the channel, a hard one the connection. The
//! reply code says which, and by it the caller decides how to react:
//!
//! | code | name | kind |
//! |---|---|---|
//! | 320 | `CONNECTION_FORCED` | `Unreachable`: an operator or a shutdown; the broker comes back |
//! | 403 | `ACCESS_REFUSED` | `AccessRefused`: wrong password, missing permission, exclusive consumer |
//! | 404 | `NOT_FOUND` | `Unroutable`: no such exchange or queue |
//! | 405 | `RESOURCE_LOCKED` | `Unreachable`: the exclusive queue of another connection |
//! | 406 | `PRECONDITION_FAILED` | `Mismatch`: other arguments; also unknown tags and bad messages |
//! | 530 | `NOT_ALLOWED` | `AccessRefused`: no such virtual host, or no permission for it |
//! | 541 | `INTERNAL_ERROR` | `Unreachable`: such as a quorum queue without its majority |
//! | others | | `Protocol` |

use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::{Error, ErrorKind};

const CONNECTION_FORCED: u16 = 320;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
const INTERNAL_ERROR: u16 = 541;

/// Creates an error that names the attempted action and keeps the broker's words.
///
/// The words name exchange, queue and virtual host, and never a password.
pub(crate) fn failed(what: impl std::fmt::Display, error: Error) -> TransportError {
    let kind = kind_of(&error);
    TransportError::new(kind, format!("{what}: {}", words(&error))).with_source(error)
}

/// Kind of an error, by which the caller decides how to react.
pub(crate) fn kind_of(error: &Error) -> TransportErrorKind {
    match reply_code(error) {
        Some(ACCESS_REFUSED | NOT_ALLOWED) => TransportErrorKind::AccessRefused,
        Some(NOT_FOUND) => TransportErrorKind::Unroutable,
        Some(PRECONDITION_FAILED) => TransportErrorKind::Mismatch,
        // A reply queue is locked until the broker notices that its last connection is gone.
        Some(RESOURCE_LOCKED | CONNECTION_FORCED | INTERNAL_ERROR) => {
            TransportErrorKind::Unreachable
        }
        Some(_) => TransportErrorKind::Protocol,
        None if is_untrusted(error) => TransportErrorKind::AccessRefused,
        None => match error.kind() {
            ErrorKind::ParsingError(_)
            | ErrorKind::SerialisationError(_)
            | ErrorKind::InvalidProtocolVersion(_) => TransportErrorKind::Protocol,
            ErrorKind::AuthProviderError(_) => TransportErrorKind::AccessRefused,
            _ => TransportErrorKind::Unreachable,
        },
    }
}

/// Reply code of the broker, if the error came from it.
pub(crate) fn reply_code(error: &Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Returns `true` if the broker refused for a reason that lies in the entity.
///
/// The channel is closed then; another entity may be declared on the next.
pub(crate) fn is_refused(error: &TransportError) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    matches!(
        source.and_then(reply_code),
        Some(ACCESS_REFUSED | NOT_FOUND | RESOURCE_LOCKED | PRECONDITION_FAILED)
    )
}

/// Returns `true` if the exchange or queue does not exist.
pub(crate) fn is_not_found(error: &Error) -> bool {
    reply_code(error) == Some(NOT_FOUND)
}

/// Returns `true` if the entity exists with other settings, or is locked.
///
/// It is locked while another connection holds it.
pub(crate) fn is_present_otherwise(error: &Error) -> bool {
    matches!(
        reply_code(error),
        Some(PRECONDITION_FAILED | RESOURCE_LOCKED)
    )
}

/// Text of the error, in the broker's words or the client's.
pub(crate) fn words(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// Returns `true` if the broker's certificate does not verify; a retry cannot help.
fn is_untrusted(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::IOError(error) => error.to_string().contains("certificate"),
        _ => false,
    }
}

/// Creates an error for a missing exchange that is not ours to declare.
pub(crate) fn no_exchange(name: &str) -> TransportError {
    TransportError::new(
        TransportErrorKind::Unroutable,
        format!("exchange `{name}` is not there"),
    )
}

/// Creates an error for an operation after the transport was closed.
pub(crate) fn closed() -> TransportError {
    TransportError::new(
        TransportErrorKind::Closed,
        "the connection to RabbitMQ was closed by shutdown",
    )
}
