//! Errors of sending.

use std::error::Error;

use crate::transport::{TransportError, TransportErrorKind};

/// Kind of a [`SendError`], by what the sender can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The message could not be encoded.
    Encode,
    /// No address is configured for the type, or the address cannot be read.
    NoRoute,
    /// No queue took the message, or the exchange or queue is not there.
    Unroutable,
    /// The broker refused the message now; another try may succeed.
    Nacked,
    /// The broker could not be reached before the deadline: the message was not sent.
    Unreachable,
    /// The broker did not confirm before the deadline: the message may have arrived.
    TimedOut,
    /// The bus is shut down, or the consumer that sent the message has ended.
    ///
    /// A consumer's context sends nothing through its outbox once the consumer has returned.
    Closed,
    /// The broker will not take the message: permission, size or arguments.
    ///
    /// Also used where the bus itself refuses it: a reply to an address that is not allowed, more
    /// headers than are read, or a send filter that panicked.
    Refused,
    /// The transport cannot do what was asked.
    Unsupported,
}

/// Error of a message that was not sent, or whose confirm is missing.
///
/// [`kind`](Self::kind) says what the sender can do about it.
///
/// ```
/// use bus_core::SendError;
/// use bus_core::error::SendErrorKind;
///
/// /// Returns `true` for a message to be kept and sent again.
/// fn keep(error: &SendError) -> bool {
///     match error.kind() {
///         SendErrorKind::TimedOut => true, // It may have arrived: send it with the same message id.
///         _ => error.is_transient(),
///     }
/// }
/// assert!(keep(&SendError::new(SendErrorKind::Unreachable, "the broker is away")));
/// assert!(!keep(&SendError::new(SendErrorKind::Unroutable, "no queue took it")));
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    kind: SendErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SendError {
    /// Creates an error with a text for people.
    pub fn new(kind: SendErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause to the error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind: what the sender can do about the error.
    pub fn kind(&self) -> SendErrorKind {
        self.kind
    }

    /// Returns `true` if the same message may go through later.
    ///
    /// True for [`Unreachable`](SendErrorKind::Unreachable), [`TimedOut`](SendErrorKind::TimedOut)
    /// and [`Nacked`](SendErrorKind::Nacked). After `TimedOut` the message may have arrived
    /// already: another send may duplicate it.
    pub fn is_transient(&self) -> bool {
        self.is_broker_away() || self.kind == SendErrorKind::Nacked
    }

    /// Returns `true` if the broker did not answer at all.
    pub(crate) fn is_broker_away(&self) -> bool {
        matches!(
            self.kind,
            SendErrorKind::Unreachable | SendErrorKind::TimedOut
        )
    }
}

impl From<TransportError> for SendError {
    fn from(error: TransportError) -> Self {
        let kind = match error.kind() {
            TransportErrorKind::Unroutable => SendErrorKind::Unroutable,
            TransportErrorKind::Nacked => SendErrorKind::Nacked,
            TransportErrorKind::Unreachable => SendErrorKind::Unreachable,
            TransportErrorKind::TimedOut => SendErrorKind::TimedOut,
            TransportErrorKind::Closed => SendErrorKind::Closed,
            TransportErrorKind::Unsupported => SendErrorKind::Unsupported,
            TransportErrorKind::AccessRefused
            | TransportErrorKind::Mismatch
            | TransportErrorKind::TooLarge
            | TransportErrorKind::Protocol => SendErrorKind::Refused,
        };
        Self {
            kind,
            message: error.to_string(),
            source: Some(Box::new(error)),
        }
    }
}
