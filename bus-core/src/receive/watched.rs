//! Reports of one delivery, to observers and the log.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Span;

use crate::consume::{AnyMessage, ReceiveContext};
use crate::endpoint::Guarantee;
use crate::message::Envelope;
use crate::observe::{Observers, PostReceive, PreReceive, ReceiveOutcome};

/// The span in which a delivery is consumed.
pub(super) fn span(envelope: &Envelope, endpoint: &str) -> Span {
    tracing::debug_span!(
        "consume",
        message_type = envelope.message_type(),
        message_id = envelope.message_id.map(tracing::field::display),
        conversation_id = envelope.conversation_id.map(tracing::field::display),
        destination = endpoint,
    )
}

/// A delivery that is handled, whose end is reported even if it is dropped.
pub(super) struct ReceiveWatch {
    received: Arc<ReceiveContext>,
    guarantee: Guarantee,
    since: Instant,
    has_ended: bool,
}

impl ReceiveWatch {
    /// Reports the begin; `None` if there is no observer.
    pub(super) fn begin(received: &Arc<ReceiveContext>, guarantee: Guarantee) -> Option<Self> {
        if observers(received).is_empty() {
            return None;
        }
        let begun = PreReceive {
            endpoint: &received.endpoint.name,
            envelope: &received.envelope,
            body_size: received.incoming.body.len(),
            redelivered: received.incoming.redelivered,
        };
        let watch = Self {
            received: Arc::clone(received),
            guarantee,
            since: Instant::now(),
            has_ended: false,
        };
        observers(received).tell(|observer| observer.pre_receive(&begun));
        Some(watch)
    }

    /// Reports the end.
    ///
    /// `Requeued` is a loss if the delivery was acknowledged before.
    pub(super) fn end(mut self, outcome: ReceiveOutcome<'_>, message: Option<&AnyMessage>) {
        self.has_ended = true;
        self.report(outcome, message);
    }

    fn report(&self, outcome: ReceiveOutcome<'_>, message: Option<&AnyMessage>) {
        let outcome = match (outcome, self.guarantee) {
            (ReceiveOutcome::Requeued(_), Guarantee::AtMostOnce) => ReceiveOutcome::Lost,
            (outcome, _) => outcome,
        };
        let received = &*self.received;
        let ended = PostReceive {
            endpoint: &received.endpoint.name,
            envelope: &received.envelope,
            message,
            body_size: received.incoming.body.len(),
            redelivered: received.incoming.redelivered,
            attempts: received.progress.attempts(),
            elapsed: self.since.elapsed(),
            outcome,
        };
        observers(received).tell(|observer| observer.post_receive(&ended));
    }
}

impl Drop for ReceiveWatch {
    fn drop(&mut self) {
        if !self.has_ended {
            self.report(ReceiveOutcome::Requeued(None), None);
        }
    }
}

fn observers(received: &ReceiveContext) -> &Observers {
    &received.endpoint.outbound.observers
}
