//! Outgoing messages, before they are encoded.

use std::borrow::Cow;
use std::time::Duration;

use super::due::Due;
use crate::codec::Codec;
use crate::message::{Envelope, Intent};
use crate::transport::{ScheduleToken, Target};

/// Outgoing message before it is encoded: everything about it can be changed.
///
/// A [`SendFilter`](crate::send::SendFilter) receives it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SendContext {
    /// Ids, addresses, headers and the encoded message part.
    pub envelope: Envelope,
    /// Exchange or queue to which the message goes.
    pub target: Target,
    /// Intent: publish, send, respond or fault.
    pub intent: Intent,
    /// Routing key, for direct and topic exchanges.
    pub routing_key: Cow<'static, str>,
    /// Encoding of the envelope.
    pub codec: Codec,
    /// Time to live: the broker drops the message after it. `None`: without end.
    pub ttl: Option<Duration>,
    /// Priority, where the queue has priorities: higher ones are served first.
    pub priority: Option<u8>,
    /// `true` if the message survives a restart of the broker.
    pub durable: bool,
    /// `true` if sending is an error when no queue takes the message.
    pub mandatory: bool,
    /// Time before which the message is not delivered. `None`: at once.
    pub due: Option<Due>,
    /// Token with which the message is cancelled until it is due.
    pub schedule_token: Option<ScheduleToken>,
    /// Key of the messages that keep their order among each other.
    ///
    /// See [`Outgoing::ordering_key`](crate::transport::Outgoing::ordering_key).
    pub ordering_key: Option<String>,
    /// Limit of the time that sending may take, waiting for an absent broker included.
    ///
    /// `Duration::MAX` is without end.
    pub deadline: Duration,
}
