//! Events of messages that a bus sends.

use std::time::Duration;

use crate::error::SendError;
use crate::message::{Envelope, Intent};
use crate::transport::Target;

/// A message about to be handed to the transport.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PreSend<'a> {
    /// Metadata of the message; its destination address is where it goes.
    pub envelope: &'a Envelope,
    /// Intent: publish, send, respond or fault.
    pub intent: Intent,
    /// Exchange or queue to which the message goes.
    pub target: &'a Target,
    /// Size of the encoded body, in bytes.
    pub body_size: usize,
}

/// A message that the broker owns.
///
/// With a broker that confirms, such as RabbitMQ, that is the confirm; a queue need not have taken
/// it unless the message was mandatory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PostSend<'a> {
    /// Metadata of the message; its destination address is where it went.
    pub envelope: &'a Envelope,
    /// Intent: publish, send, respond or fault.
    pub intent: Intent,
    /// Exchange or queue to which the message went.
    pub target: &'a Target,
    /// Size of the encoded body, in bytes.
    pub body_size: usize,
    /// Time from the hand-over to the broker's confirm.
    pub elapsed: Duration,
}

/// A message that was not sent, or whose confirm is missing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SendFault<'a> {
    /// Metadata of the message; its destination address is where it should go.
    pub envelope: &'a Envelope,
    /// Intent: publish, send, respond or fault.
    pub intent: Intent,
    /// Exchange or queue to which the message should go.
    pub target: &'a Target,
    /// Size of the encoded body, in bytes.
    pub body_size: usize,
    /// Time from the hand-over to the failure.
    pub elapsed: Duration,
    /// Error that the sender gets.
    ///
    /// Of kind [`TimedOut`](crate::error::SendErrorKind::TimedOut) also where the sender stopped
    /// waiting: the message may have arrived.
    pub error: &'a SendError,
}
