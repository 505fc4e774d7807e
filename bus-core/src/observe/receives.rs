//! Events of deliveries: from the queue to their settlement.

use std::any::Any;
use std::time::Duration;

use crate::error::ConsumeError;
use crate::message::Envelope;

/// A delivery that an endpoint begins to handle.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PreReceive<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// Metadata of the message; empty where it could not be read.
    pub envelope: &'a Envelope,
    /// Size of the body, in bytes.
    pub body_size: usize,
    /// `true` if the broker has delivered the message before.
    pub redelivered: bool,
}

/// A delivery that an endpoint has handled to its end.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PostReceive<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// Metadata of the message; empty where it could not be read.
    pub envelope: &'a Envelope,
    /// The decoded message; `None` where it was not decoded.
    pub message: Option<&'a (dyn Any + Send + Sync)>,
    /// Size of the body, in bytes.
    pub body_size: usize,
    /// `true` if the broker has delivered the message before.
    pub redelivered: bool,
    /// Number of attempts to consume the message for this delivery.
    pub attempts: u32,
    /// Time from its begin: attempts, waits between them, and what was sent.
    pub elapsed: Duration,
    /// The way in which the delivery ended.
    pub outcome: ReceiveOutcome<'a>,
}

/// The way in which a delivery ended.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ReceiveOutcome<'a> {
    /// A consumer has succeeded; the delivery is acknowledged.
    Handled,
    /// The message was handled before, and not again; the delivery is acknowledged.
    Duplicate,
    /// No consumer accepts the message: moved to the skipped queue, where that is kept.
    Skipped,
    /// The delivery has failed for good: moved to the error queue, where that is kept.
    Faulted(&'a ConsumeError),
    /// The message comes again after this time.
    ///
    /// It has failed, or its consumer defers it. A copy waits at the broker; the delivery is
    /// acknowledged.
    Redelivered(&'a ConsumeError, Duration),
    /// The delivery goes back to its queue.
    ///
    /// Without an error where the endpoint stopped, or could not move it to the skipped queue.
    Requeued(Option<&'a ConsumeError>),
    /// The endpoint stopped first, and a delivery handled at most once is lost.
    Lost,
}

/// A fault that was sent to its address, or published.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FaultPublished<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// Metadata of the message that failed; empty where it could not be read.
    pub envelope: &'a Envelope,
    /// Metadata of the fault.
    pub fault: &'a Envelope,
    /// Error of the delivery.
    pub error: &'a ConsumeError,
}
