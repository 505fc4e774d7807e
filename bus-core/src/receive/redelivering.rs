//! Copies of messages that failed or are deferred, which come again later.

use std::time::Duration;

use super::moving::forwarded;
use super::outcome::End;
use super::receiver::Receiver;
use crate::codec::{Codec, is_noise};
use crate::consume::{ReceiveContext, Redeliveries};
use crate::error::{ConsumeError, Shown};
use crate::send::Due;
use crate::topology::QueueKind;
use crate::transport::{Capability, Outgoing, Target, TransportError, TransportErrorKind};

/// Decision about a message that is to come again later.
struct Later {
    wait: Duration,
    counts: Redeliveries,
}

impl Receiver {
    /// Decides whether a message that ended with this error comes again later.
    ///
    /// The first policy that the error is meant for decides, whether its limit is reached or not.
    fn later(&self, received: &ReceiveContext, error: &ConsumeError) -> Option<Later> {
        let policies = &self.redeliveries;
        let read = || Redeliveries::read(&received.envelope, &received.incoming, policies.len());
        if let Some(wait) = error.deferral() {
            let counts = read().count_deferral();
            return Some(Later { wait, counts });
        }
        let policy = policies.iter().position(|policy| policy.allows(error))?;
        let counts = read();
        let wait = policies[policy].wait_after(counts.by_policy(policy))?;
        Some(Later {
            wait,
            counts: counts.count(policy),
        })
    }

    /// Returns `true` if a message that ended with this error comes again later.
    pub(super) fn comes_again(&self, received: &ReceiveContext, error: &ConsumeError) -> bool {
        let later = self.later(received, error);
        later.is_some_and(|Later { wait, counts }| {
            self.can_delay(&copy(received, wait, &counts)).is_ok()
        })
    }

    /// Hands over the copy of a message that is to come again.
    ///
    /// It tries until that has worked. The delivery is acknowledged then. Returns `None` if the
    /// message has failed: it is not to come again, or no try could work.
    pub(super) async fn redeliver(
        &self,
        received: &ReceiveContext,
        error: &ConsumeError,
    ) -> Option<End> {
        let Later { wait, counts } = self.later(received, error)?;
        let outgoing = copy(received, wait, &counts);
        if let Err(refusal) = self.can_delay(&outgoing) {
            tracing::error!(endpoint = %self.endpoint.name, error = %refusal, "the message cannot come again later");
            return None;
        }
        tracing::info!(
            endpoint = %self.endpoint.name,
            message_id = received.envelope.message_id.map(tracing::field::display),
            ?wait,
            ?counts,
            error = %Shown(error),
            "the message comes again later"
        );
        Some(if self.move_out(received, outgoing).await {
            End::Later(wait)
        } else {
            End::GoesBack
        })
    }

    fn can_delay(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let transport = &self.endpoint.outbound.transport;
        if !transport.capabilities().has(Capability::DelayedDelivery) {
            let text = "this transport has no delayed delivery";
            return Err(TransportError::new(TransportErrorKind::Unsupported, text));
        }
        let own = self.topology.main.queues.iter();
        if own
            .map(|queue| queue.kind)
            .any(|kind| kind == QueueKind::Stream)
        {
            let text = "a copy in a stream would come to all its readers";
            return Err(TransportError::new(TransportErrorKind::Unsupported, text));
        }
        transport.check(outgoing)
    }
}

/// Builds the copy that waits; it passes every exchange, so that taps get it once.
fn copy(received: &ReceiveContext, wait: Duration, counts: &Redeliveries) -> Outgoing {
    let incoming = &received.incoming;
    let mut headers = incoming.headers.clone();
    // A broker routes by CC, and takes a message with x-death for one that goes round in circles.
    headers.retain(|name, _| !is_noise(name));
    counts.write(&mut headers);
    let queue = received.endpoint.name.clone();
    let mut copy = forwarded(incoming, Target::Inbox(queue.into()), headers);
    if is_enveloped(received) {
        let mut envelope = received.envelope.clone();
        counts.write(&mut envelope.headers);
        copy.body = Codec::MassTransit.encode(&envelope).body;
    }
    copy.durable = incoming.durable;
    copy.deliver_at = Due::after(wait).instant();
    copy
}

/// Returns `true` if the headers in the body count, as they do for MassTransit.
fn is_enveloped(received: &ReceiveContext) -> bool {
    let codec = Codec::for_incoming(&received.incoming, received.endpoint.codec);
    // A body that could not be read stands for the whole message.
    let was_read = received.envelope.message.len() != received.incoming.body.len();
    codec.is_ok_and(|codec| codec == Codec::MassTransit) && was_read
}
