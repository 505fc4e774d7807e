//! A message that is encoded, with its ids fixed.

use std::time::Duration;

use crate::message::{Envelope, Intent};
use crate::transport::Outgoing;

/// A message that is encoded and may be sent, now or later, any number of times, with the same ids.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SealedMessage {
    /// What the transport sends.
    pub outgoing: Outgoing,
    /// What it says, for those who watch.
    pub envelope: Envelope,
    /// Why it leaves.
    pub intent: Intent,
    /// How long each try to send it may take.
    pub deadline: Duration,
}
