//! Outgoing messages that are encoded, with their ids fixed.

use std::time::Duration;

use super::due::Due;
use crate::message::{Envelope, Intent};
use crate::transport::Outgoing;

/// Outgoing message that is encoded, with its ids fixed.
///
/// It may be sent now or later, any number of times, always with the same ids.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SealedMessage {
    /// The encoded message for the transport.
    pub outgoing: Outgoing,
    /// Metadata of the message, for observers.
    pub envelope: Envelope,
    /// Intent: publish, send, respond or fault.
    pub intent: Intent,
    /// Limit of the time that each try to send it may take.
    ///
    /// `Duration::MAX` is without end.
    pub deadline: Duration,
    /// Time before which the message is not delivered. `None`: at once.
    pub due: Option<Due>,
}
