//! Deliveries that come twice, or in another order, because a test asked for it.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::message::{Message, Name, Turn};

/// Longest time for which a message is held so that another one overtakes it.
const SPREAD: Duration = Duration::from_millis(10);

/// Disorder that the broker brings into its deliveries; by default none.
#[derive(Debug, Default)]
pub(crate) struct Disorder {
    /// `true` if a message that was acknowledged is delivered once more.
    pub(crate) repeats: bool,
    /// Source of the times for which messages are held.
    pub(crate) random: Option<Rng>,
}

/// Message that waits until others have overtaken it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) queue: Name,
    pub(super) message: Arc<Message>,
    pub(super) turn: Turn,
}

impl Disorder {
    /// Time until which the next message is held; `None` where the order stays.
    pub(super) fn due(&mut self) -> Option<Instant> {
        let longest = SPREAD.as_micros().try_into().unwrap_or(u64::MAX);
        let random = self.random.as_mut()?;
        Instant::now().checked_add(Duration::from_micros(random.u64(0..longest)))
    }
}
