//! Views of the outbox, for those who operate a service.

use std::time::{Duration, SystemTime};

/// Size of the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Messages that wait to be sent.
    pub waiting: u64,
    /// Messages that are not due yet.
    pub scheduled: u64,
    /// Messages that were set aside, as they could not be sent.
    pub parked: u64,
    /// Age of the oldest message that waits.
    pub oldest: Option<Duration>,
}

impl Backlog {
    pub(crate) fn new(waiting: i64, scheduled: i64, parked: i64, oldest: Option<Duration>) -> Self {
        let count = |count: i64| count.try_into().unwrap_or_default();
        Self {
            waiting: count(waiting),
            scheduled: count(scheduled),
            parked: count(parked),
            oldest,
        }
    }
}

/// Message that was set aside, as it could not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parked {
    /// Id, for [`unpark`](crate::Sql::unpark) and [`discard`](crate::Sql::discard).
    pub id: i64,
    /// Exchange or queue.
    pub destination: String,
    /// Reason for which it could not be sent.
    pub reason: String,
    /// Time at which it was set aside.
    pub parked_at: SystemTime,
    /// Metadata of the message, as JSON.
    pub metadata: String,
}
