//! One delivery: decode, find the consumer, run the pipeline, settle.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument;

use super::consumers::Consumers;
use super::crash_guard::{Admission, CrashGuard};
use super::outcome::{End, Outcome, Undone};
use super::pulled::Pulled;
use super::watched::ReceiveWatch;
use crate::codec::{Codec, DecodeError};
use crate::consume::{
    ChainEnd, ConsumeContext, EndpointContext, Place, ReceiveContext, Slot, Slots,
};
use crate::endpoint::{DeadLettering, EndpointTopology, Guarantee, PartitionKey};
use crate::error::panics;
use crate::flow::Switch;
use crate::middleware::{Chain, Next, Retry};
use crate::transport::{Delivery, Incoming, Listener, Settlement};

/// State that the deliveries of one endpoint share.
///
/// The only place where deliveries are settled.
pub(crate) struct Receiver {
    pub(crate) endpoint: Arc<EndpointContext>,
    pub(crate) chain: Chain,
    pub(crate) consumers: Consumers,
    pub(crate) topology: EndpointTopology,
    pub(crate) guarantee: Guarantee,
    pub(crate) redeliveries: Vec<Retry>,
    /// Keys of messages, of which the first that a message has counts.
    pub(crate) partition_keys: Vec<PartitionKey>,
    pub(crate) dead_lettering: DeadLettering,
    pub(crate) crash_guard: CrashGuard,
    /// `None` if failures do not pause the endpoint.
    pub(crate) switch: Option<Switch>,
}

/// Wait before a delivery goes back, after a panic outside of its consumer.
const AFTER_A_PANIC: Duration = Duration::from_secs(5);

/// Holds a slot until a delivery has ended, however it ends.
struct Running<'a>(&'a Slot);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.free();
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
        if matches!(admission, Admission::Alone(_)) {
            received.progress.keep_apart();
        }
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
            // First: to keep a failed message may take long.
            self.count(&outcome);
            let end = self.end(&received, &outcome).await;
            if let Some(watch) = watch {
                let is_duplicate = received.progress.is_duplicate();
                watch.end(outcome.observed(end, is_duplicate), outcome.message());
            }
            end.is_settled()
        };
        handled.instrument(span).await
    }

    async fn end(&self, received: &ReceiveContext, outcome: &Outcome<'_>) -> End {
        match outcome {
            Outcome::Done { .. } => End::Settled,
            // In a future of its own: that of a message which is consumed is moved several times,
            // and stays small so.
            Outcome::Undone(undone) => Box::pin(self.end_undone(received, undone)).await,
        }
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

    async fn consume(
        &self,
        received: &Arc<ReceiveContext>,
        codec: Result<Codec, DecodeError>,
        arrival: Option<Place>,
    ) -> Outcome<'_> {
        let (registration, message) = match self.prepare(received, codec) {
            Ok(prepared) => prepared,
            Err(undone) => return Outcome::Undone(undone),
        };
        let ctx = ConsumeContext::new(Arc::clone(received), Arc::clone(&message));
        let begun = self.begin(&ctx, arrival).await;
        let consumer = Arc::clone(&registration.handler) as Arc<dyn ChainEnd>;
        let next = Next::new(Arc::clone(&self.chain), consumer);
        let ended = match begun {
            // A failure has a future of its own: that of a message which is consumed stays small.
            Ok(()) => match next.run(ctx).await {
                Err(error) => {
                    let ctx = ConsumeContext::new(Arc::clone(received), Arc::clone(&message));
                    Box::pin(self.handle_failure(ctx, registration, error)).await
                }
                done => done,
            },
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => Outcome::Done { message },
            Err(error) => Outcome::Undone(Undone::Failed {
                error,
                by: Some(registration),
                message: Some(message),
            }),
        }
    }
}
