//! A message on its way out, before it is encoded, and what users add to it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::codec::Codec;
use crate::envelope::Envelope;
use crate::send_error::SendError;
use crate::transport::{Outgoing, Target};

/// Why a message leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Intent {
    /// An event, to whoever subscribed.
    Publish,
    /// A command or request, to one address.
    Send,
    /// The answer to a request.
    Respond,
    /// The news that consuming failed.
    Fault,
}

/// A message before it is encoded: everything about it can still be changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Draft {
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

/// Changes every message that leaves, for headers such as a tenant. Closures are hooks too.
///
/// ```
/// use bus_core::{Draft, SendError};
///
/// fn tenant(draft: &mut Draft) -> Result<(), SendError> {
///     draft.envelope.headers.insert("Tenant", "north");
///     Ok(())
/// }
/// // Bus::builder(transport).outgoing(tenant)
/// ```
pub trait OutgoingHook: Send + Sync + 'static {
    /// Called once for each message, when it is published, before it is held by an outbox.
    ///
    /// # Errors
    /// An error refuses the message; its sender gets it. A panic refuses it too.
    fn prepare(&self, draft: &mut Draft) -> Result<(), SendError>;
}

impl<F> OutgoingHook for F
where
    F: Fn(&mut Draft) -> Result<(), SendError> + Send + Sync + 'static,
{
    fn prepare(&self, draft: &mut Draft) -> Result<(), SendError> {
        self(draft)
    }
}

impl fmt::Debug for dyn OutgoingHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutgoingHook")
    }
}

/// A message that is encoded and may be sent, now or later, any number of times, with the same ids.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parcel {
    /// What the transport sends.
    pub outgoing: Outgoing,
    /// What it says, for those who watch.
    pub envelope: Envelope,
    /// Why it leaves.
    pub intent: Intent,
    /// How long each try to send it may take.
    pub deadline: Duration,
}
