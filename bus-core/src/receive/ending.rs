//! The end of a delivery that has not succeeded: it goes back, or is moved.

use std::time::Duration;

use super::error_queue;
use super::failure::Failure;
use super::fault_publisher::raise;
use super::outcome::{End, Undone};
use super::receiver::Receiver;
use crate::consume::{ReceiveContext, Registration, Waits};
use crate::endpoint::Guarantee;
use crate::error::{ConsumeError, FailureKind, Shown};
use crate::topology::{error_queue_name, skipped_queue_name};
use crate::transport::Health;

/// Trouble of messages that could not be consumed for a reason that is not theirs.
const GOING_BACK: &str = "wait to go back to their queue";

/// First wait of a delivery that goes back once the broker is there.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Receiver {
    /// Ends a delivery: it goes back, is moved, or comes again later.
    pub(super) async fn end_undone(&self, received: &ReceiveContext, undone: &Undone<'_>) -> End {
        End::of(match undone {
            Undone::Skipped => self.skip(received).await,
            Undone::Failed { error, .. } if self.is_cut_short(error) => false,
            Undone::Failed { error, .. } if self.is_not_its_fault(error) => {
                self.give_back(received, error).await
            }
            Undone::Failed { error, by, .. } => match self.redeliver(received, error).await {
                Some(end) => return end,
                None => self.fail(received, error, *by).await,
            },
        })
    }

    /// Returns `true` if a message that ended with this error is not consumed again.
    pub(super) fn is_final(&self, received: &ReceiveContext, error: &ConsumeError) -> bool {
        !self.is_cut_short(error)
            && !self.is_not_its_fault(error)
            && !self.comes_again(received, error)
    }

    /// Returns `true` if another delivery may succeed, and nothing else is to be done.
    fn is_not_its_fault(&self, error: &ConsumeError) -> bool {
        self.guarantee == Guarantee::AtLeastOnce
            && (error.is_unavailable() || error.kind() == FailureKind::ClaimLost)
    }

    /// Returns `true` if the stop ended the attempt, and not the message.
    ///
    /// A consumer that was cancelled may end with any error.
    pub(super) fn is_cut_short(&self, error: &ConsumeError) -> bool {
        match error.kind() {
            FailureKind::Cancelled => true,
            FailureKind::Failed
            | FailureKind::TimedOut
            | FailureKind::Unavailable
            | FailureKind::Conflict => *self.endpoint.cancelled.borrow(),
            FailureKind::Permanent
            | FailureKind::Panicked
            | FailureKind::ClaimLost
            | FailureKind::Deferred => false,
        }
    }

    /// Gives back a message that failed for no reason of its own.
    ///
    /// That is no failed attempt: the message goes back and is consumed again, not in a hot loop,
    /// and not before the broker is there: queues count what goes back.
    async fn give_back(&self, received: &ReceiveContext, error: &ConsumeError) -> bool {
        let troubles = &self.endpoint.troubles;
        let trouble = troubles.note(GOING_BACK, Shown(error).to_string());
        if trouble.is_first() {
            tracing::warn!(endpoint = %self.endpoint.name, error = %Shown(error), "the message goes back to its queue once the broker is there");
        }
        received.slot.step_aside();
        let mut waits = Waits::new(received, FIRST_WAIT, LONGEST_WAIT);
        while waits.next_while_pulling(received).await.is_ok() {
            if self.endpoint.outbound.transport.health() == Health::Up {
                break;
            }
        }
        false
    }

    async fn skip(&self, received: &ReceiveContext) -> bool {
        tracing::warn!(
            endpoint = %self.endpoint.name,
            message_types = ?received.envelope.message_types,
            "no consumer wants this message"
        );
        if !self.dead_lettering.keep_skipped || self.guarantee == Guarantee::AtMostOnce {
            return true;
        }
        let queue = skipped_queue_name(&self.endpoint.name);
        let mut outgoing = error_queue::moved(
            received,
            queue,
            &self.topology.skipped,
            error_queue::skipped_headers(),
        );
        outgoing.ttl = received.incoming.ttl;
        self.move_out(received, outgoing).await
    }

    /// Logs one line with everything that an operator searches for.
    fn log_failure(&self, received: &ReceiveContext, error: &ConsumeError, attempts: u32) {
        let keeps = self.guarantee == Guarantee::AtLeastOnce && self.dead_lettering.keep_faulted;
        let envelope = &received.envelope;
        tracing::error!(
            endpoint = self.endpoint.name,
            message_type = envelope.message_type(),
            message_id = envelope.message_id.map(display),
            correlation_id = envelope.correlation_id.map(display),
            conversation_id = envelope.conversation_id.map(display),
            attempts,
            moves_to = keeps.then(|| error_queue_name(&self.endpoint.name)),
            error = %Shown(error),
            "the message failed"
        );
    }

    async fn fail(
        &self,
        received: &ReceiveContext,
        error: &ConsumeError,
        by: Option<&Registration>,
    ) -> bool {
        let attempts = received.progress.attempts();
        let failure = Failure {
            received,
            error,
            fault_types: by.map_or(&[], |registration| registration.fault_types.as_slice()),
            consumer_type: by.map(|registration| registration.consumer_type),
            retries: attempts.saturating_sub(1),
        };
        let kept = self.guarantee == Guarantee::AtLeastOnce;
        self.log_failure(received, error, attempts);
        // The requester receives a fault also where failures are not kept.
        raise(&failure, kept && self.dead_lettering.publish_faults).await;
        if kept && self.dead_lettering.keep_faulted {
            let queue = error_queue_name(&self.endpoint.name);
            let outgoing = error_queue::moved(
                received,
                queue,
                &self.topology.error,
                error_queue::error_headers(&failure),
            );
            return self.move_out(received, outgoing).await;
        }
        true
    }
}
