//! Failures that a consumer handles itself, after its last attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_core::consume::FailureHandler;
use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::{
    ConsumeContext, ConsumeError, ConsumeResult, Consumer, Endpoint, Message, Policy, Retry,
    async_trait,
};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Payments:TakePayment")]
struct TakePayment {}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Payments:PaymentRefused")]
struct PaymentRefused {
    reason: String,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Payments:PaymentTried")]
struct PaymentTried {}

/// A consumer that always fails, and whose failure is handled after some tries.
#[derive(Clone, Default)]
struct Payments {
    error: Option<fn() -> ConsumeError>,
    consumed: Arc<AtomicU32>,
    handled: Arc<AtomicU32>,
    handler_fails: u32,
}

impl Consumer<TakePayment> for Payments {
    async fn consume(&self, ctx: ConsumeContext<TakePayment>) -> ConsumeResult {
        self.consumed.fetch_add(1, Ordering::SeqCst);
        ctx.publish(&PaymentTried {}).await?;
        Err(self
            .error
            .map_or_else(|| "the bank says no".into(), |error| error()))
    }

    fn failure_handler(&self) -> Option<Arc<dyn FailureHandler<TakePayment>>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl FailureHandler<TakePayment> for Payments {
    fn handles(&self, error: &ConsumeError) -> bool {
        error.to_string() != "not mine"
    }

    async fn handle(
        &self,
        ctx: ConsumeContext<TakePayment>,
        error: &ConsumeError,
    ) -> ConsumeResult {
        let reason = error.to_string();
        ctx.publish(&PaymentRefused { reason }).await?;
        if self.handled.fetch_add(1, Ordering::SeqCst) < self.handler_fails {
            return Err("the handler fails".into());
        }
        Ok(())
    }
}

impl Payments {
    fn counts(&self) -> (u32, u32) {
        let count = |counter: &AtomicU32| counter.load(Ordering::SeqCst);
        (count(&self.consumed), count(&self.handled))
    }

    async fn run(&self, policy: Policy) -> Harness {
        let endpoint = Endpoint::new("payments")
            .policy(policy)
            .consumer(self.clone());
        let harness = Harness::start(|bus| bus.endpoint(endpoint)).await;
        let harness = harness.expect("the bus starts");
        let sent = harness.send_to("queue:payments", &TakePayment {}).await;
        sent.expect("the queue is there");
        harness.quiescent().await;
        harness
    }
}

fn in_error_queue(harness: &Harness) -> usize {
    harness
        .transport()
        .waiting("payments_error")
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_handled_once_after_the_last_attempt() {
    let payments = Payments::default();
    let retry = Policy::new().retry(Retry::interval(2, Duration::from_secs(1)));
    let harness = payments.run(retry).await;
    assert_eq!(payments.counts(), (3, 1));
    let refused = harness.published::<PaymentRefused>().only();
    assert_eq!(refused.reason, "the bank says no");
    assert!(
        harness.published::<PaymentTried>().none(),
        "failed attempts send nothing"
    );
    assert!(harness.faulted::<TakePayment>().none());
    assert!(harness.faults::<TakePayment>().none());
    assert_eq!(in_error_queue(&harness), 0);
    let consumed = harness.consumed::<TakePayment>().all();
    assert_eq!(consumed[0].attempts(), 3, "those of the consumer");
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_retried_and_its_last_error_is_that_of_the_message() {
    let retry = || Policy::new().retry(Retry::interval(2, Duration::from_secs(1)));
    let payments = Payments {
        handler_fails: 2,
        ..Payments::default()
    };
    let harness = payments.run(retry()).await;
    assert_eq!(payments.counts(), (3, 3));
    assert_eq!(harness.published::<PaymentRefused>().count(), 1);
    assert_eq!(in_error_queue(&harness), 0);

    let payments = Payments {
        handler_fails: 3,
        ..Payments::default()
    };
    let harness = payments.run(retry()).await;
    assert_eq!(payments.counts(), (3, 3));
    assert!(harness.published::<PaymentRefused>().none());
    assert_eq!(in_error_queue(&harness), 1);
    let failed = harness.faulted::<TakePayment>().all();
    assert_eq!(failed[0].error(), Some("the handler fails"));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_it_does_not_handle_goes_to_the_error_queue() {
    let payments = Payments {
        error: Some(|| ConsumeError::permanent("not mine")),
        ..Payments::default()
    };
    let harness = payments.run(Policy::new()).await;
    assert_eq!(payments.counts(), (1, 0));
    assert_eq!(in_error_queue(&harness), 1);
    let failed = harness.faulted::<TakePayment>().all();
    assert_eq!(failed[0].error(), Some("not mine"));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_later_has_not_failed_yet() {
    let payments = Payments::default();
    let later = Policy::new().redelivery(Retry::interval(1, Duration::from_secs(60)));
    let harness = payments.run(later).await;
    assert_eq!(payments.counts(), (1, 0));
    tokio::time::sleep(Duration::from_secs(61)).await;
    harness.quiescent().await;
    assert_eq!(payments.counts(), (2, 1));
    assert_eq!(in_error_queue(&harness), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handled_failure_is_remembered_by_its_key() {
    let payments = Payments::default();
    let once = Policy::new().idempotency(MemoryIdempotencyStore::new());
    let endpoint = Endpoint::new("payments")
        .policy(once)
        .consumer(payments.clone());
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    let harness = harness.deliver_twice();
    harness
        .send_to("queue:payments", &TakePayment {})
        .await
        .unwrap();
    harness.quiescent().await;
    assert_eq!(harness.consumed::<TakePayment>().count(), 2);
    assert_eq!(payments.counts(), (1, 1));
    assert_eq!(harness.published::<PaymentRefused>().count(), 1);
}
