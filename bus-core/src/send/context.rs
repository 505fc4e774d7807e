//! A message on its way out, before it is encoded.

use std::borrow::Cow;
use std::time::Duration;

use crate::codec::Codec;
use crate::message::{Envelope, Intent};
use crate::transport::Target;

/// A message before it is encoded: everything about it can still be changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SendContext {
    /// Ids, addresses, headers and the encoded message part.
    pub envelope: Envelope,
    /// Where it goes.
    pub target: Target,
    /// Why it leaves.
    pub intent: Intent,
    /// For direct and topic exchanges.
    pub routing_key: Cow<'static, str>,
    /// How it is encoded.
    pub codec: Codec,
    /// How long it is of use to the receiver.
    pub ttl: Option<Duration>,
    /// Served before lower ones, where the queue has priorities.
    pub priority: Option<u8>,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// An error if no queue takes it.
    pub mandatory: bool,
    /// Delivered no earlier than after this.
    pub delay: Option<Duration>,
    /// How long sending may take.
    pub deadline: Duration,
}
