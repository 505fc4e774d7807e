//! Features that one broker has and another lacks.

use std::fmt;

/// Feature of a transport beyond the common contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Exchanges that pass on what no binding takes.
    AlternateExchanges,
    /// Removal of a message that waits to be delivered, by its token.
    CancelScheduled,
    /// Priorities of consumers: consumers with a higher one are served first.
    ConsumerPriorities,
    /// Redelivery after a time: [`Settlement::Defer`](super::Settlement::Defer).
    DeferredRedelivery,
    /// Delivery after [`Outgoing::deliver_at`](super::Outgoing::deliver_at).
    DelayedDelivery,
    /// Consumers that share their queue with no other.
    ExclusiveConsumers,
    /// Headers exchanges.
    HeadersExchanges,
    /// Reports of mandatory messages that no queue takes.
    Mandatory,
    /// Times to live, of a message and of all messages of a queue.
    MessageTtl,
    /// Persistence: messages survive the end of the process.
    Persistence,
    /// Prefetch: deliveries are taken from the queue before they are pulled.
    ///
    /// As many as [`ListenSpec::prefetch`](super::ListenSpec::prefetch) says, and
    /// [`Listener::set_prefetch`](super::Listener::set_prefetch) changes it.
    Prefetch,
    /// Priorities of messages: a queue may serve higher ones first.
    Priorities,
    /// Limits of the length of a queue.
    QueueLimits,
    /// Quorum queues and their delivery limit.
    QuorumQueues,
    /// Direct and topic exchanges, which read routing keys.
    RoutingKeys,
    /// Queues that serve one of their consumers at a time.
    SingleActiveConsumer,
    /// Streams.
    Streams,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlternateExchanges => "alternate exchanges",
            Self::CancelScheduled => "cancelling of scheduled messages",
            Self::ConsumerPriorities => "priorities of consumers",
            Self::DeferredRedelivery => "deferred redelivery",
            Self::DelayedDelivery => "delayed delivery",
            Self::ExclusiveConsumers => "exclusive consumers",
            Self::HeadersExchanges => "headers exchanges",
            Self::Mandatory => "reports of unroutable messages",
            Self::MessageTtl => "times to live",
            Self::Persistence => "persistence",
            Self::Prefetch => "prefetch",
            Self::Priorities => "priorities of messages",
            Self::QueueLimits => "limits of the length of a queue",
            Self::QuorumQueues => "quorum queues",
            Self::RoutingKeys => "routing keys",
            Self::SingleActiveConsumer => "single active consumers",
            Self::Streams => "streams",
        })
    }
}

impl Capability {
    const ALL: [Self; 17] = [
        Self::AlternateExchanges,
        Self::CancelScheduled,
        Self::ConsumerPriorities,
        Self::DeferredRedelivery,
        Self::DelayedDelivery,
        Self::ExclusiveConsumers,
        Self::HeadersExchanges,
        Self::Mandatory,
        Self::MessageTtl,
        Self::Persistence,
        Self::Prefetch,
        Self::Priorities,
        Self::QueueLimits,
        Self::QuorumQueues,
        Self::RoutingKeys,
        Self::SingleActiveConsumer,
        Self::Streams,
    ];

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Set of the capabilities that a transport claims.
///
/// An endpoint or an exchange that needs another one is a configuration mistake; a delay, a
/// token or a time to live of a message is refused with
/// [`Unsupported`](crate::error::SendErrorKind::Unsupported). Where
/// [`Priorities`](Capability::Priorities), [`Mandatory`](Capability::Mandatory) and
/// [`Persistence`](Capability::Persistence) are not claimed, a message's wish for them has no
/// effect. The bus refuses all that before the transport is asked; what comes past a bus, the
/// transport refuses itself, with [`Unsupported`](super::TransportErrorKind::Unsupported).
///
/// ```
/// use bus_core::transport::{Capabilities, Capability};
///
/// const CLAIMED: Capabilities = Capabilities::of(&[Capability::Priorities, Capability::Streams]);
/// assert!(CLAIMED.has(Capability::Streams));
/// assert!(!CLAIMED.has(Capability::DelayedDelivery));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// None of the capabilities.
    pub const NONE: Self = Self(0);

    /// Creates a set.
    pub const fn of(mut capabilities: &[Capability]) -> Self {
        let mut bits = 0;
        while let [first, rest @ ..] = capabilities {
            bits |= first.bit();
            capabilities = rest;
        }
        Self(bits)
    }

    /// Returns `true` if the capability is claimed.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claimed = Capability::ALL.iter().filter(|one| self.has(**one));
        f.debug_set().entries(claimed).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_a_bit_of_its_own() {
        for one in Capability::ALL {
            let claimed = Capabilities::of(&[one]);
            let found = Capability::ALL.iter().filter(|other| claimed.has(**other));
            assert_eq!(found.collect::<Vec<_>>(), [&one]);
            assert_eq!(format!("{claimed:?}"), format!("{{{one:?}}}"));
        }
    }

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let two = Capabilities::of(&[Capability::Streams, Capability::Mandatory]);
        assert!(two.has(Capability::Streams) && two.has(Capability::Mandatory));
        assert!(!two.has(Capability::Priorities));
        assert_eq!(Capabilities::of(&[]), Capabilities::NONE);
    }
}
