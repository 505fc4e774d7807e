//! Why a message could not be sent.

use std::error::Error;

use crate::transport::{TransportError, TransportErrorKind};

/// What the sender can do about a [`SendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The message could not be encoded.
    Encode,
    /// No address is configured for the type, or the address cannot be read.
    NoRoute,
    /// No queue took it.
    Unroutable,
    /// The broker refused it now; another try may succeed.
    Nacked,
    /// The broker could not be reached before the deadline: it was not sent.
    Unreachable,
    /// The broker did not confirm before the deadline: it may have arrived.
    TimedOut,
    /// The bus is shut down, or the consumer has ended through whose context it was sent.
    Closed,
    /// The broker will not take it: permission, size or arguments.
    Refused,
    /// The transport cannot do what was asked.
    Unsupported,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    kind: SendErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SendError {
    /// An error with words for people.
    pub fn new(kind: SendErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the sender can do about it.
    pub fn kind(&self) -> SendErrorKind {
        self.kind
    }

    /// Whether the same message may go through later.
    pub fn is_transient(&self) -> bool {
        self.is_broker_away() || self.kind == SendErrorKind::Nacked
    }

    /// Whether the broker did not answer at all.
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
