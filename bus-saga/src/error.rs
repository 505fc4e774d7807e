//! Errors of sagas.

use bus_core::ConsumeError;
use uuid::Uuid;

/// Error of an event that a saga could not handle.
///
/// The text names the saga, the event and the instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SagaError {
    /// The message names no instance.
    #[error("saga `{saga}`: {event} names no instance: its id or key is missing, or empty")]
    Uncorrelated {
        /// Name of the saga.
        saga: &'static str,
        /// Name of the event.
        event: String,
    },
    /// There is no such instance, and the event begins none.
    #[error("saga `{saga}`: there is no instance {instance} for {event}, which begins none")]
    Missing {
        /// Name of the saga.
        saga: &'static str,
        /// Name of the event.
        event: String,
        /// Id or key that the message names.
        instance: String,
    },
    /// The state of the instance does not expect the event.
    #[error("saga `{saga}`: {event} is not expected in state {state} of {id}")]
    Unexpected {
        /// Name of the saga.
        saga: &'static str,
        /// Name of the event.
        event: String,
        /// Name of the state.
        state: &'static str,
        /// Id of the instance.
        id: Uuid,
    },
    /// The stored state is none of those that this program knows.
    #[error(
        "saga `{saga}`: {id} is stored in state `{state}`, which this program does not know: add it, or rename one by #[state(\"{state}\")]"
    )]
    UnknownState {
        /// Name of the saga.
        saga: &'static str,
        /// Id of the instance.
        id: Uuid,
        /// Stored name of the state.
        state: String,
    },
    /// The instance was stored by a newer version of this crate.
    #[error(
        "saga `{saga}`: {id} is stored in version {version}, and this program reads up to {readable}"
    )]
    Newer {
        /// Name of the saga.
        saga: &'static str,
        /// Id of the instance.
        id: Uuid,
        /// Version in which it is stored.
        version: u32,
        /// Highest version that can be read.
        readable: u32,
    },
    /// The stored instance cannot be read or written.
    #[error("saga `{saga}`: the {part} of {id} cannot be converted")]
    Unreadable {
        /// Name of the saga.
        saga: &'static str,
        /// Id of the instance.
        id: Uuid,
        /// Part that is concerned.
        part: &'static str,
        /// Reason.
        source: serde_json::Error,
    },
    /// A business key has another value than before, or than its event.
    #[error(
        "saga `{saga}`: the key `{key}` of {id} was `{before}` and would be {after}: a key cannot change"
    )]
    KeyChanged {
        /// Name of the saga.
        saga: &'static str,
        /// Id of the instance.
        id: Uuid,
        /// Name of the key.
        key: String,
        /// Value before.
        before: String,
        /// Value now, or `missing`.
        after: String,
    },
    /// Another instance has the business key.
    #[error("saga `{saga}`: the key `{key}` is `{value}` for two instances, one of them {id}")]
    KeyTaken {
        /// Name of the saga.
        saga: String,
        /// Id of the instance that was to be saved.
        id: Uuid,
        /// Name of the key.
        key: String,
        /// Value that both have.
        value: String,
    },
    /// More events wait in the instance than it may hold.
    #[error("saga `{saga}`: {id} postpones too much: {event} would be above {limit}")]
    PostponesTooMuch {
        /// Name of the saga.
        saga: &'static str,
        /// Id of the instance.
        id: Uuid,
        /// Name of the event.
        event: String,
        /// Limit that is reached.
        limit: &'static str,
    },
    /// The repository runs outside of its unit of work.
    ///
    /// The endpoint was built without [`StoredSaga::on`](crate::StoredSaga::on).
    #[error("the repository is called outside of its unit of work")]
    OutsideOfWork,
}

impl SagaError {
    /// Returns the error as one that no retry can cure, unless waiting may help.
    pub(crate) fn into_consume_error(self) -> ConsumeError {
        match self {
            Self::Missing { .. } | Self::Unexpected { .. } => self.into(),
            _ => ConsumeError::permanent(self),
        }
    }
}
