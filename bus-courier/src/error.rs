//! Errors of routing slips.

use bus_core::transport::InvalidAddress;
use bus_core::{ConsumeError, SendError};
use uuid::Uuid;

/// Error of a routing slip: it cannot be made, read, or sent on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlipError {
    /// The address of an activity or a subscription cannot be read.
    #[error("the address of `{name}` in the routing slip cannot be read")]
    Address {
        /// The activity, or the address of the subscription.
        name: String,
        /// The mistake in it.
        source: InvalidAddress,
    },
    /// The arguments of an activity cannot be written, or are no object.
    #[error("the arguments of `{name}` are no JSON object")]
    WriteArguments {
        /// The activity.
        name: String,
        /// The mistake in them.
        source: serde_json::Error,
    },
    /// A variable cannot be written as JSON.
    #[error("the variable `{name}` cannot be written as JSON")]
    WriteVariable {
        /// The variable.
        name: String,
        /// The mistake in it.
        source: serde_json::Error,
    },
    /// The log of an activity cannot be written, or is no object.
    #[error("the log of `{name}` is no JSON object")]
    WriteLog {
        /// The activity.
        name: String,
        /// The mistake in it.
        source: serde_json::Error,
    },
    /// The arguments that came do not fit the activity.
    #[error("the arguments of `{name}` cannot be read")]
    ReadArguments {
        /// The activity.
        name: String,
        /// The mistake in them.
        source: serde_json::Error,
    },
    /// The log that came does not fit the compensation.
    #[error("the log of `{name}` cannot be read")]
    ReadLog {
        /// The activity.
        name: String,
        /// The mistake in it.
        source: serde_json::Error,
    },
    /// A slip without an activity came to an endpoint that executes one.
    #[error("the routing slip {0} has no activity to execute")]
    NothingToExecute(Uuid),
    /// A slip without a log came to an endpoint that compensates.
    #[error("the routing slip {0} has nothing to compensate")]
    NothingToCompensate(Uuid),
    /// The slip or an event of it was refused for good.
    #[error("the routing slip or an event of it cannot be sent to `{address}`")]
    Refused {
        /// Address or type to which it was to go.
        address: String,
        /// The reason.
        source: SendError,
    },
}

impl SlipError {
    /// Creates the error of an attempt from that of a message that it sent.
    ///
    /// A broker that is away is waited for, and no fault of the slip.
    pub(crate) fn sending(address: &str, error: SendError) -> ConsumeError {
        if error.is_transient() {
            return error.into();
        }
        ConsumeError::permanent(Self::Refused {
            address: address.to_owned(),
            source: error,
        })
    }

    /// Returns `true` if the slip cannot go on at all, neither forward nor back.
    ///
    /// If it or an event of it was refused, the activity has had its effect, and no log in the slip
    /// that came says so. That is left to people, in the error queue.
    pub(crate) fn is_stuck(error: &ConsumeError) -> bool {
        let stuck = |slip: &Self| {
            matches!(
                slip,
                Self::NothingToExecute(_) | Self::NothingToCompensate(_) | Self::Refused { .. }
            )
        };
        // An outbox finds out later what is refused, and says so with the error itself.
        let refused = error.is_permanent() && error.cause().is::<SendError>();
        refused || error.find::<Self>().is_some_and(stuck)
    }
}
