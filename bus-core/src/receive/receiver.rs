//! One delivery: decode, find the consumer, run the pipeline, settle.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::{Instrument, Span};

use super::consumers::Consumers;
use super::crash_guard::{Admission, CrashGuard};
use super::error_queue;
use super::failure::Failure;
use super::fault_publisher::raise;
use super::pulled::Pulled;
use super::watched::{self, ReceiveWatch};
use crate::codec::{Codec, DecodeError};
use crate::consume::{
    AnyMessage, ConsumeContext, EndpointContext, Place, Progress, RawMessage, ReceiveContext,
    Registration, Slot, Slots, Waits,
};
use crate::endpoint::{DeadLettering, EndpointTopology, Guarantee, PartitionKey};
use crate::error::panics;
use crate::error::{ConsumeError, FailureKind, Shown};
use crate::message::Envelope;
use crate::middleware::{Chain, Next, Redelivery};
use crate::observe::ReceiveOutcome;
use crate::observe::propagator::extract;
use crate::topology::{error_queue_name, skipped_queue_name};
use crate::transport::{Delivery, Health, Incoming, Listener, Settlement};

/// State that the deliveries of one endpoint share.
///
/// The only place where deliveries are settled.
pub(crate) struct Receiver {
    pub(crate) endpoint: Arc<EndpointContext>,
    pub(crate) chain: Chain,
    pub(crate) consumers: Consumers,
    pub(crate) topology: EndpointTopology,
    pub(crate) guarantee: Guarantee,
    pub(crate) redeliveries: Vec<Redelivery>,
    /// Keys of messages, of which the first that a message has counts.
    pub(crate) partition_keys: Vec<PartitionKey>,
    pub(crate) dead_lettering: DeadLettering,
    pub(crate) crash_guard: CrashGuard,
}

/// Trouble of messages that could not be consumed for a reason that is not theirs.
const GOING_BACK: &str = "wait to go back to their queue";

/// First wait of a delivery that goes back once the broker is there.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Wait before a delivery goes back, after a panic outside of its consumer.
const AFTER_A_PANIC: Duration = Duration::from_secs(5);

/// Holds a slot until a delivery has ended, however it ends.
struct Running<'a>(&'a Slot);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.free();
    }
}

/// Outcome of a delivery.
enum Outcome {
    Done {
        message: Arc<AnyMessage>,
    },
    Skipped,
    Failed {
        error: ConsumeError,
        by: Option<Registration>,
        message: Option<Arc<AnyMessage>>,
    },
}

impl Outcome {
    /// The outcome of a message that no process has come to an end with.
    fn set_aside(deliveries: u32) -> Self {
        let error = ConsumeError::permanent(format!(
            "the message was delivered {deliveries} times without an end, so its consumer may be what ends the process; \
             it was not called again"
        ));
        Self::Failed {
            error,
            by: None,
            message: None,
        }
    }

    fn message(&self) -> Option<&AnyMessage> {
        match self {
            Self::Done { message } => Some(&**message),
            Self::Failed { message, .. } => message.as_deref(),
            Self::Skipped => None,
        }
    }

    fn observed(&self, end: End, is_duplicate: bool) -> ReceiveOutcome<'_> {
        match (self, end) {
            (Self::Failed { error, .. }, End::Settled) => ReceiveOutcome::Faulted(error),
            (Self::Failed { error, .. }, End::Later(wait)) => {
                ReceiveOutcome::Redelivered(error, wait)
            }
            (Self::Failed { error, .. }, End::GoesBack) => ReceiveOutcome::Requeued(Some(error)),
            (Self::Done { .. }, _) if is_duplicate => ReceiveOutcome::Duplicate,
            (Self::Done { .. }, _) => ReceiveOutcome::Handled,
            (Self::Skipped, End::GoesBack) => ReceiveOutcome::Requeued(None),
            (Self::Skipped, _) => ReceiveOutcome::Skipped,
        }
    }
}

/// End of a delivery.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// Handled, or kept in another queue.
    Settled,
    /// A copy comes after this time.
    Later(Duration),
    GoesBack,
}

impl End {
    fn of(settled: bool) -> Self {
        if settled {
            Self::Settled
        } else {
            Self::GoesBack
        }
    }

    fn is_settled(self) -> bool {
        !matches!(self, Self::GoesBack)
    }
}

impl Receiver {
    /// Handles one delivery to its end.
    ///
    /// If this is dropped on the way, the delivery goes back to its queue.
    pub(crate) async fn receive(&self, pulled: Pulled, listener: &dyn Listener) {
        let Pulled {
            delivery: Delivery { incoming, receipt },
            slot,
            mut arrival,
        } = pulled;
        if let Some(arrival) = &mut arrival {
            arrival.is_first().await;
        }
        let mut admission = match self.guarantee {
            Guarantee::AtLeastOnce => self.crash_guard.admit(listener, &incoming, &slot).await,
            // Acknowledged before it is handled, it does not come again.
            Guarantee::AtMostOnce => Admission::Free,
        };
        let receipt = match self.guarantee {
            Guarantee::AtLeastOnce => Some(receipt),
            Guarantee::AtMostOnce => {
                if receipt.acknowledge().await.is_err() {
                    return;
                }
                None
            }
        };
        let slots = Arc::clone(slot.slots());
        // A panic would end the lane, and with it all that runs there.
        let handled = self.handle(incoming, &mut admission, slot, arrival);
        let settled = match AssertUnwindSafe(handled).catch_unwind().await {
            Ok(settled) => settled,
            Err(panic) => Box::pin(self.put_off(panics::text(&*panic), &slots)).await,
        };
        let Some(receipt) = receipt else { return };
        match admission {
            // The broker must know before the next suspect may end the process.
            Admission::Alone(_) if settled => drop(receipt.acknowledge().await),
            _ if settled => receipt.settle(Settlement::Ack),
            _ => receipt.settle(Settlement::Requeue),
        }
    }

    /// Handles a delivery; returns `true` if it is settled, `false` if it goes back.
    async fn handle(
        &self,
        incoming: Incoming,
        admission: &mut Admission<'_>,
        slot: Slot,
        arrival: Option<Place>,
    ) -> bool {
        let (received, codec, span) = self.read(incoming, slot);
        // Also when this is dropped: contexts that users keep outlive the delivery.
        let _running = Running(&received.slot);
        let handled = async {
            let watch = ReceiveWatch::begin(&received, self.guarantee);
            let outcome = match admission {
                Admission::SetAside(deliveries) => {
                    drop(arrival);
                    Outcome::set_aside(*deliveries)
                }
                Admission::Free | Admission::Alone(_) => {
                    self.consume(&received, codec, arrival).await
                }
            };
            if !matches!(outcome, Outcome::Done { .. }) {
                // The process has survived it, and what comes now may take long.
                *admission = Admission::Free;
            }
            let end = self.end(&received, &outcome).await;
            if let Some(watch) = watch {
                let is_duplicate = received.progress.is_duplicate();
                watch.end(outcome.observed(end, is_duplicate), outcome.message());
            }
            end.is_settled()
        };
        handled.instrument(span).await
    }

    async fn end(&self, received: &ReceiveContext, outcome: &Outcome) -> End {
        match outcome {
            Outcome::Done { .. } => End::Settled,
            // In a future of its own: that of a message which is consumed is moved several times,
            // and stays small so.
            _ => Box::pin(self.end_without_success(received, outcome)).await,
        }
    }

    async fn end_without_success(&self, received: &ReceiveContext, outcome: &Outcome) -> End {
        let settled = match outcome {
            Outcome::Done { .. } => true,
            Outcome::Skipped => self.skip(received).await,
            Outcome::Failed { error, .. } if self.is_cut_short(error) => false,
            Outcome::Failed { error, .. } if error.kind() == FailureKind::ClaimLost => {
                self.give_back(received, error).await
            }
            Outcome::Failed { error, .. }
                if error.is_unavailable() && self.guarantee == Guarantee::AtLeastOnce =>
            {
                self.give_back(received, error).await
            }
            Outcome::Failed { error, by, .. } => match self.redeliver(received, error).await {
                Some(end) => return end,
                None => self.fail(received, error, by.as_ref()).await,
            },
        };
        End::of(settled)
    }

    /// Gives back a delivery whose handling panicked, but not in a hot loop.
    ///
    /// The framework itself, or what it was given, panicked; not the consumer.
    async fn put_off(&self, panic: &str, slots: &Slots) -> bool {
        tracing::error!(endpoint = %self.endpoint.name, panic, "handling a message panicked; it goes back to its queue");
        let troubles = &self.endpoint.troubles;
        let _trouble = troubles.note("cannot be handled at all", format!("panicked: {panic}"));
        let mut cancelled = self.endpoint.cancelled.clone();
        tokio::select! {
            _ = cancelled.wait_for(|cancelled| *cancelled) => {}
            () = slots.leaving() => {}
            () = tokio::time::sleep(AFTER_A_PANIC) => {}
        }
        false
    }

    /// Reads the metadata; a body that cannot be read has none.
    fn read(
        &self,
        incoming: Incoming,
        slot: Slot,
    ) -> (Arc<ReceiveContext>, Result<Codec, DecodeError>, Span) {
        let read = Codec::for_incoming(&incoming, self.endpoint.codec)
            .and_then(|codec| Ok((codec, codec.decode(&incoming)?)));
        let (codec, envelope) = match read {
            Ok((codec, envelope)) => (Ok(codec), envelope),
            Err(error) => (
                Err(error),
                Envelope {
                    message: incoming.body.clone(),
                    ..Envelope::default()
                },
            ),
        };
        let endpoint = Arc::clone(&self.endpoint);
        let span = watched::span(&envelope, &endpoint.name);
        let trace = extract(endpoint.outbound.propagator(), &envelope.headers, &span);
        let received = ReceiveContext {
            incoming,
            envelope,
            endpoint,
            trace,
            progress: Progress::default(),
            slot,
        };
        (Arc::new(received), codec, span)
    }

    async fn consume(
        &self,
        received: &Arc<ReceiveContext>,
        codec: Result<Codec, DecodeError>,
        arrival: Option<Place>,
    ) -> Outcome {
        let (registration, message) = match self.prepare(received, codec) {
            Ok(Some(prepared)) => prepared,
            Ok(None) => return Outcome::Skipped,
            Err((error, by)) => {
                return Outcome::Failed {
                    error,
                    by,
                    message: None,
                };
            }
        };
        let ctx = ConsumeContext::new(Arc::clone(received), Arc::clone(&message));
        let begun = self.begin(&ctx, arrival).await;
        let next = Next::new(Arc::clone(&self.chain), Arc::clone(&registration.handler));
        let ended = match begun {
            Ok(()) => next.run(ctx).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => Outcome::Done { message },
            Err(error) => Outcome::Failed {
                error,
                by: Some(registration.clone()),
                message: Some(message),
            },
        }
    }

    #[allow(clippy::type_complexity)]
    fn prepare(
        &self,
        received: &ReceiveContext,
        codec: Result<Codec, DecodeError>,
    ) -> Result<Option<(&Registration, Arc<AnyMessage>)>, (ConsumeError, Option<Registration>)>
    {
        let codec = match codec {
            Ok(codec) => codec,
            // A consumer of everything also gets what is no envelope.
            Err(error) => {
                let any = self.consumers.any();
                let any = any.ok_or_else(|| (ConsumeError::permanent(error), None))?;
                let raw = RawMessage::new(received.envelope.message.clone());
                return Ok(Some((any, Arc::new(raw))));
            }
        };
        let Some(registration) = self
            .consumers
            .find(codec, &received.envelope)
            .map_err(|error| (error, None))?
        else {
            return Ok(None);
        };
        // A contract's `Deserialize` may panic.
        match panics::caught(|| registration.handler.decode(&received.envelope)) {
            Ok(Ok(message)) => Ok(Some((registration, message))),
            Ok(Err(error)) => Err((ConsumeError::permanent(error), Some(registration.clone()))),
            Err(panic) => Err((ConsumeError::panicked(&panic), Some(registration.clone()))),
        }
    }

    /// Returns `true` if the stop ended the attempt, and not the message.
    ///
    /// A consumer that was cancelled may end with any error.
    fn is_cut_short(&self, error: &ConsumeError) -> bool {
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
