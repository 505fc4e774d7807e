//! What an operation on queues causes elsewhere: tasks to wake, messages to dead-letter, the count of work in flight.

use std::collections::VecDeque;
use std::sync::Arc;

use bus_core::topology::DeadLetter;
use tokio::sync::Notify;

use super::message::{Entry, Name};

/// Collected while the broker is locked, so that queues need not know each other; worked off afterwards.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Whoever waits here may have something to do. Woken after the lock is released, as waking can cost a system call.
    pub(crate) wakes: Vec<Arc<Notify>>,
    /// Messages that queues gave up and that go elsewhere.
    pub(crate) given_up: VecDeque<GivenUp>,
    /// Deliveries handed to consumers and not settled.
    pub(crate) in_flight: usize,
}

/// A message that a queue gave up.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) by: Name,
    pub(crate) entry: Entry,
    pub(crate) to: DeadLetter,
}
