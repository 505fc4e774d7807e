//! A failed delivery.

use crate::consume::{ReceiveContext, redeliveries};
use crate::error::ConsumeError;
use crate::message::MessageType;

/// Header with the time at which a message was moved to the error queue.
pub(super) const TIMESTAMP: &str = "MT-Fault-Timestamp";

/// A failed delivery and what is known of it.
pub(crate) struct Failure<'a> {
    pub(crate) received: &'a ReceiveContext,
    pub(crate) error: &'a ConsumeError,
    /// Types of the fault; none where the type of the message is not known.
    pub(crate) fault_types: &'a [MessageType],
    pub(crate) consumer_type: Option<&'a str>,
    pub(crate) retries: u32,
}

impl Failure<'_> {
    /// The number of times that the message came again later.
    pub(crate) fn redeliveries(&self) -> u32 {
        redeliveries::total(&self.received.envelope, &self.received.incoming)
    }
}
