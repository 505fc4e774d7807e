//! Effects of queue operations on other parts.
//!
//! These are tasks to wake, messages to dead-letter, and the count of work in flight.

use std::collections::VecDeque;
use std::sync::Arc;

use bus_core::topology::DeadLetter;
use tokio::sync::Notify;

use super::message::{Entry, Name};

/// Effects, collected while the broker is locked and worked off afterwards.
///
/// With it, queues need not know each other.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Waiters that may have something to do.
    ///
    /// They are woken after the lock is released, as waking can cost a system call.
    pub(crate) wakes: Vec<Arc<Notify>>,
    /// Messages that queues gave up and that go elsewhere.
    pub(crate) given_up: VecDeque<GivenUp>,
    /// Number of deliveries handed to consumers and not settled.
    pub(crate) in_flight: usize,
}

/// Message that a queue gave up.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) by: Name,
    pub(crate) entry: Entry,
    pub(crate) to: DeadLetter,
}
