//! Error of the stop of a bus.

use std::time::Duration;

/// Error of a stop: consumers still ran when the stop timeout had passed.
///
/// They were cancelled, and their messages are back in the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "consumers were still running {after:?} after the stop; they were cancelled and their messages are back in the queues"
)]
pub struct StopTimeout {
    pub(crate) after: Duration,
}
