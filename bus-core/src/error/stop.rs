//! The error of a stop.

use std::time::Duration;

/// Consumers were still running when the stop timeout had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "consumers were still running {after:?} after the stop; they were cancelled and their messages are back in the queues"
)]
pub struct StopTimeout {
    pub(crate) after: Duration,
}
