//! Why a transport could not do what was asked.

/// What the caller can do about a [`TransportError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The broker cannot be reached now; trying again may help.
    Unreachable,
    /// The deadline passed without the broker's word: the message may or may not have arrived.
    TimedOut,
    /// The transport was closed.
    Closed,
    /// No queue took a mandatory message, or the exchange or queue is not there.
    Unroutable,
    /// The broker refused the message (negative acknowledgement); a queue was full, or failed.
    Nacked,
    /// Wrong credentials, unknown virtual host or missing permission.
    AccessRefused,
    /// An entity exists with other arguments.
    Mismatch,
    /// The message, its headers or a name is larger than the broker takes.
    TooLarge,
    /// The transport cannot do what was asked.
    Unsupported,
    /// The broker broke the protocol, or we did.
    Protocol,
}

impl TransportErrorKind {
    /// Whether the same call may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Nacked)
    }
}

/// An error of the transport: the kind, and words that name the entity concerned.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    kind: TransportErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// An error with words for people: what failed, for which entity, what to do.
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}
