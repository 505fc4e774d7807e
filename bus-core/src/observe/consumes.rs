//! Events of the attempts to consume a message.

use std::any::Any;
use std::time::Duration;

use crate::error::ConsumeError;
use crate::message::Envelope;

/// An attempt to consume a message, about to begin.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PreConsume<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// Metadata of the message.
    pub envelope: &'a Envelope,
    /// The decoded message.
    pub message: &'a (dyn Any + Send + Sync),
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// `true` if the broker has delivered the message before.
    pub redelivered: bool,
}

/// An attempt whose consumer has succeeded.
///
/// Messages in the outbox of the attempt have not left yet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PostConsume<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// Metadata of the message.
    pub envelope: &'a Envelope,
    /// The decoded message.
    pub message: &'a (dyn Any + Send + Sync),
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// `true` if the broker has delivered the message before.
    pub redelivered: bool,
    /// Time that the attempt took.
    pub elapsed: Duration,
}

/// An attempt that has failed; another one may follow.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConsumeFault<'a> {
    /// Name of the endpoint.
    pub endpoint: &'a str,
    /// Metadata of the message.
    pub envelope: &'a Envelope,
    /// The decoded message.
    pub message: &'a (dyn Any + Send + Sync),
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// `true` if the broker has delivered the message before.
    pub redelivered: bool,
    /// Time that the attempt took.
    pub elapsed: Duration,
    /// Error of the attempt; its kind is the way in which it ended.
    ///
    /// Of kind [`Cancelled`](crate::error::FailureKind::Cancelled) where the endpoint stopped and
    /// dropped the consumer, [`TimedOut`](crate::error::FailureKind::TimedOut) where it took longer
    /// than its timeout.
    pub error: &'a ConsumeError,
}
