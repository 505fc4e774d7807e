//! Why a message could not be consumed.

use std::error::Error;
use std::fmt;

use super::panics::{Shown, caught};
use super::send::{SendError, SendErrorKind};

/// What a consumer or a middleware returns.
pub type ConsumeResult<T = ()> = Result<T, ConsumeError>;

/// How far a chain of sources is followed.
const MAX_CAUSES: usize = 100;

type BoxError = Box<dyn Error + Send + Sync>;

/// Why consuming a message failed. Any error, or text, becomes one by `?` or `into()`.
///
/// It does not implement [`Error`] itself, as that would forbid the conversion from every other error.
///
/// ```
/// use bus_core::{ConsumeError, ConsumeResult};
///
/// fn parse(text: &str) -> ConsumeResult<u32> {
///     if text.is_empty() {
///         return Err(ConsumeError::permanent("the number is missing"));
///     }
///     Ok(text.parse()?)
/// }
/// assert!(parse("").unwrap_err().is_permanent());
/// assert!(parse("x").unwrap_err().find::<std::num::ParseIntError>().is_some());
/// ```
pub struct ConsumeError {
    kind: FailureKind,
    cause: BoxError,
    type_name: &'static str,
}

/// How consuming failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The consumer returned an error; retries may help.
    Failed,
    /// Trying again cannot help: no retry.
    Permanent,
    /// The consumer panicked: no retry.
    Panicked,
    /// The consumer took longer than its timeout; retries may help.
    TimedOut,
    /// Somebody else may be handling the same idempotency key: nothing was sent, the message goes back to its queue.
    ClaimLost,
    /// The endpoint stops: no attempt failed, the message goes back to its queue.
    Cancelled,
}

impl ConsumeError {
    /// An error that no retry can cure: the message goes to the error queue at once.
    pub fn permanent<E: Into<BoxError>>(error: E) -> Self {
        Self::of_kind(FailureKind::Permanent, error)
    }

    pub(crate) fn of_kind<E: Into<BoxError>>(kind: FailureKind, error: E) -> Self {
        Self {
            kind,
            cause: error.into(),
            type_name: std::any::type_name::<E>(),
        }
    }

    pub(crate) fn panicked(text: &str) -> Self {
        Self::of_kind(FailureKind::Panicked, format!("panicked: {text}"))
    }

    pub(crate) fn claim_lost(key: &str) -> Self {
        let text = format!("the claim on the idempotency key `{key}` was lost");
        Self::of_kind(FailureKind::ClaimLost, text)
    }

    pub(crate) fn cancelled() -> Self {
        Self::of_kind(FailureKind::Cancelled, "the endpoint is stopping")
    }

    /// How it failed.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Whether retries are pointless.
    pub fn is_permanent(&self) -> bool {
        matches!(self.kind, FailureKind::Permanent | FailureKind::Panicked)
    }

    /// The error itself.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }

    /// The Rust type of the error, for faults and headers.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The first error of type `E` in the error and its sources.
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.chain().find_map(|error| error.downcast_ref())
    }

    /// The error and its sources, outermost first; at most 100 of them, as an error may be its own source.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = &*self.cause;
        std::iter::successors(Some(first), |&error| error.source()).take(MAX_CAUSES)
    }

    /// The texts of the same, also if the errors panic when they are asked.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        let first: &(dyn Error + 'static) = &*self.cause;
        std::iter::successors(Some(first), |&error| {
            caught(|| error.source()).ok().flatten()
        })
        .map(|error| Shown(error).to_string())
    }

    /// Whether a message of the consumer was refused for good: another attempt would send it again.
    pub(crate) fn is_refused_send(&self) -> bool {
        let is_refused =
            |error: &SendError| !error.is_transient() && error.kind() != SendErrorKind::Closed;
        let is_refused = || self.find().is_some_and(is_refused);
        self.kind == FailureKind::Failed && caught(is_refused).unwrap_or(false)
    }

    /// Whether the broker could not be reached: no fault of the message.
    pub(crate) fn is_broker_away(&self) -> bool {
        let is_away = || self.find().is_some_and(SendError::is_broker_away);
        self.kind == FailureKind::Failed && caught(is_away).unwrap_or(false)
    }
}

impl<E: Into<BoxError>> From<E> for ConsumeError {
    fn from(error: E) -> Self {
        Self::of_kind(FailureKind::Failed, error)
    }
}

impl fmt::Display for ConsumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for ConsumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumeError")
            .field("kind", &self.kind)
            .field("cause", &self.cause)
            .field("type_name", &self.type_name)
            .finish()
    }
}
