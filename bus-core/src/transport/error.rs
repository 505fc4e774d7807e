//! Errors of a transport, by what the caller can do about them.

/// Kind of a [`TransportError`], by which the caller decides what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The broker cannot be reached now; trying again may help.
    Unreachable,
    /// The deadline passed without a confirm.
    ///
    /// The message may or may not have arrived: sending it again may deliver it twice.
    TimedOut,
    /// The transport was closed.
    Closed,
    /// No queue took a mandatory message, or the exchange or queue is not there.
    Unroutable,
    /// The broker refused the message with a negative acknowledgement.
    ///
    /// A queue was full, or failed.
    Nacked,
    /// Wrong credentials, unknown virtual host or missing permission.
    AccessRefused,
    /// An entity exists with other arguments.
    Mismatch,
    /// The message, its headers or a name is larger than the broker takes.
    TooLarge,
    /// The transport cannot do what was asked.
    ///
    /// An example is a delay without [`DelayedDelivery`](super::Capability::DelayedDelivery).
    Unsupported,
    /// The broker or this client violated the protocol.
    Protocol,
}

impl TransportErrorKind {
    /// Returns `true` if the same call may succeed later.
    ///
    /// These are [`Unreachable`](Self::Unreachable), [`TimedOut`](Self::TimedOut) and
    /// [`Nacked`](Self::Nacked).
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Nacked)
    }
}

/// Error of a transport: its kind, and a text that names the entity concerned.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    kind: TransportErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// Creates an error with a text for people.
    ///
    /// The text says what failed, for which entity, and what to do.
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Returns the same error with its cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind, by which the caller decides what to do.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}
