//! Errors of consumers and middleware.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::panics::{Shown, caught};
use super::send::{SendError, SendErrorKind};

/// Result of a consumer or a middleware.
pub type ConsumeResult<T = ()> = Result<T, ConsumeError>;

/// Maximal number of errors in a followed chain of sources.
const MAX_CAUSES: usize = 100;

/// Any error, on the heap.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Error of a consumer or a middleware.
///
/// Any error, or text, becomes one by `?` or `into()`, with the kind
/// [`Failed`](FailureKind::Failed). It does not implement [`Error`] itself, as that would forbid
/// the conversion from every other error. A clone shares the error that it holds.
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
#[derive(Clone)]
pub struct ConsumeError {
    kind: FailureKind,
    cause: Arc<dyn Error + Send + Sync>,
    type_name: &'static str,
}

/// Kind of a [`ConsumeError`].
///
/// It decides what becomes of the message:
///
/// | kind | run again | then |
/// |---|---|---|
/// | [`Failed`](Self::Failed), [`TimedOut`](Self::TimedOut) | as the retry policy says | error queue, fault |
/// | [`Permanent`](Self::Permanent), [`Panicked`](Self::Panicked) | no | error queue, fault |
/// | [`Unavailable`](Self::Unavailable) | with growing waits, not counted | back to its queue |
/// | [`Conflict`](Self::Conflict) | soon, ten times, not counted | as [`Failed`](Self::Failed) |
/// | [`Deferred`](Self::Deferred) | no | comes again later |
/// | [`ClaimLost`](Self::ClaimLost), [`Cancelled`](Self::Cancelled) | no | back to its queue |
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
    /// Something that the consumer needs is away, as a database is: no attempt failed.
    ///
    /// The delivery waits and is consumed again, without a fault, and without being counted as a
    /// retry. After ten minutes it goes back to its queue. On an endpoint that handles messages at
    /// most once, it fails then.
    Unavailable,
    /// The consumer ran into another one, as transactions do: the attempt runs again.
    ///
    /// It does so soon, up to ten times. Then it has failed; retries may help.
    Conflict,
    /// The consumer defers the message: no attempt failed.
    ///
    /// See [`ConsumeContext::defer`](crate::ConsumeContext::defer).
    Deferred,
    /// The claim on the idempotency key was lost: another consumer may handle the key.
    ///
    /// Nothing was sent; the message goes back to its queue.
    ClaimLost,
    /// The endpoint stops: no attempt failed.
    ///
    /// The message goes back to its queue.
    Cancelled,
}

/// Cause of an error that defers a message.
#[derive(Debug, thiserror::Error)]
#[error("the consumer defers the message for {0:?}")]
struct Deferral(Duration);

impl ConsumeError {
    /// Creates an error that no retry can cure: the message goes to the error queue.
    ///
    /// The message goes there at once, without a retry.
    pub fn permanent<E: Into<BoxError>>(error: E) -> Self {
        Self::of_kind(FailureKind::Permanent, error)
    }

    /// Creates an error that says that something is away which the consumer needs.
    ///
    /// The message waits for it, and is no failure; see [`FailureKind::Unavailable`].
    pub fn unavailable<E: Into<BoxError>>(error: E) -> Self {
        Self::of_kind(FailureKind::Unavailable, error)
    }

    /// Creates an error of a consumer that ran into another one.
    ///
    /// It runs again soon; see [`FailureKind::Conflict`].
    pub fn conflict<E: Into<BoxError>>(error: E) -> Self {
        Self::of_kind(FailureKind::Conflict, error)
    }

    /// Creates the error of a consumer that defers its message.
    ///
    /// The message comes again after this time; see [`FailureKind::Deferred`].
    pub fn deferred(wait: Duration) -> Self {
        Self::of_kind(FailureKind::Deferred, Deferral(wait))
    }

    /// Returns the time after which the message is to come again, if it is deferred.
    pub fn deferral(&self) -> Option<Duration> {
        let deferral = self.cause.downcast_ref::<Deferral>()?;
        (self.kind == FailureKind::Deferred).then_some(deferral.0)
    }

    pub(crate) fn of_kind<E: Into<BoxError>>(kind: FailureKind, error: E) -> Self {
        let cause: BoxError = error.into();
        Self {
            kind,
            cause: cause.into(),
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

    /// The kind of the failure.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns `true` if the message is never retried: a permanent error or a panic.
    pub fn is_permanent(&self) -> bool {
        matches!(self.kind, FailureKind::Permanent | FailureKind::Panicked)
    }

    /// The underlying error.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }

    /// The name of the error's Rust type, for faults and headers.
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// The first error of type `E` in the error and its sources.
    ///
    /// `None` if there is none of this type. It makes a retry depend on the cause:
    ///
    /// ```
    /// use std::io;
    /// use bus_core::ConsumeError;
    ///
    /// let error = ConsumeError::from(io::Error::from(io::ErrorKind::TimedOut));
    /// let is_slow = error.find::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
    /// assert!(is_slow);
    /// ```
    pub fn find<E: Error + 'static>(&self) -> Option<&E> {
        self.chain().find_map(|error| error.downcast_ref())
    }

    /// The error and its sources, outermost first.
    ///
    /// At most 100 of them, as an error may be its own source.
    pub fn chain(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first: &(dyn Error + 'static) = &*self.cause;
        std::iter::successors(Some(first), |&error| error.source()).take(MAX_CAUSES)
    }

    /// The texts of the error and its sources, outermost first.
    ///
    /// An error that panics in `source` ends them; one that panics in `Display` gets a placeholder.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        let first: &(dyn Error + 'static) = &*self.cause;
        std::iter::successors(Some(first), |&error| {
            caught(|| error.source()).ok().flatten()
        })
        .map(|error| Shown(error).to_string())
    }

    /// Returns `true` if a message that the consumer sent was refused for good.
    ///
    /// Another attempt would send it again.
    pub(crate) fn is_refused_send(&self) -> bool {
        let is_refused =
            |error: &SendError| !error.is_transient() && error.kind() != SendErrorKind::Closed;
        let is_refused = || self.find().is_some_and(is_refused);
        self.kind == FailureKind::Failed && caught(is_refused).unwrap_or(false)
    }

    /// Returns `true` if something was away: no fault of the message.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind == FailureKind::Unavailable || self.is_broker_away()
    }

    /// Returns `true` if the broker could not be reached: no fault of the message.
    ///
    /// It is not retried, and its delivery goes back to its queue instead of to the error queue.
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
