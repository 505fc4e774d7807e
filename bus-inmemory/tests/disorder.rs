//! Deliveries that come twice, or in another order, on demand.

use std::sync::{Arc, Mutex};

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::topology::{Overflow, Queue};
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Disorder:Ordered")]
struct Ordered {
    number: u32,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Disorder:Paid")]
struct Paid {
    number: u32,
}

/// Names of the messages in the order in which a consumer saw them.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, name: String) {
        self.0.lock().expect("no test panicked").push(name);
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().expect("no test panicked").clone()
    }
}

async fn pay(ctx: ConsumeContext<Ordered>) -> ConsumeResult {
    let number = ctx.message().number;
    Ok(ctx.publish(&Paid { number }).await?)
}

async fn fail(_: ConsumeContext<Ordered>) -> ConsumeResult {
    Err("it never works".into())
}

async fn see_order(seen: Seen, ctx: ConsumeContext<Ordered>) -> ConsumeResult {
    seen.note(ctx.message().number.to_string());
    Ok(())
}

async fn see_payment(seen: Seen, ctx: ConsumeContext<Paid>) -> ConsumeResult {
    seen.note(format!("paid {}", ctx.message().number));
    Ok(())
}

fn payments() -> Endpoint {
    Endpoint::new("payments").consumer(pay)
}

fn watching(seen: &Seen) -> Endpoint {
    Endpoint::new("watching")
        .concurrency(1)
        .consumer_with(seen.clone(), see_order)
        .consumer_with(seen.clone(), see_payment)
}

/// Publishes ten messages and returns the order in which they were consumed.
async fn order(seed: u64) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let observed = Seen::default();
    let endpoint = watching(&observed);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    let harness = harness.shuffle(seed);
    for number in 0..10 {
        harness.publish(&Ordered { number }).await?;
    }
    harness.quiescent().await;
    Ok(observed.names())
}

#[tokio::test(start_paused = true)]
async fn every_message_comes_twice_with_the_same_id() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(payments())).await?;
    let harness = harness.deliver_twice();
    for number in 0..3 {
        harness.publish(&Ordered { number }).await?;
    }
    harness.quiescent().await;
    let consumed = harness.consumed::<Ordered>();
    assert_eq!(consumed.count(), 6);
    assert_eq!(consumed.distinct().count(), 3);
    // A second run of a consumer sends the same ids.
    let published = harness.published::<Paid>();
    assert_eq!((published.count(), published.distinct().count()), (6, 3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_counts_once_for_each_endpoint() -> Outcome {
    let other = Endpoint::new("other").consumer(pay);
    let harness = Harness::start(|bus| bus.endpoint(payments()).endpoint(other)).await?;
    let harness = harness.deliver_twice();
    harness.publish(&Ordered { number: 1 }).await?;
    harness.quiescent().await;
    let consumed = harness.consumed::<Ordered>();
    assert_eq!((consumed.count(), consumed.distinct().count()), (4, 2));
    assert_eq!(consumed.on("other").distinct().count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_endpoint_has_its_effect_once() -> Outcome {
    let payments = payments().idempotency(MemoryIdempotencyStore::new());
    let harness = Harness::start(|bus| bus.endpoint(payments)).await?;
    let harness = harness.deliver_twice().shuffle(1);
    for number in 0..3 {
        harness.publish(&Ordered { number }).await?;
    }
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Ordered>().count(), 6);
    assert_eq!(harness.published::<Paid>().count(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_second_delivery_is_marked() -> Outcome {
    let marks = Arc::new(Mutex::new(Vec::new()));
    let marking = |marks: Arc<Mutex<Vec<bool>>>, ctx: ConsumeContext<Ordered>| async move {
        marks.lock().unwrap().push(ctx.incoming().redelivered);
        ConsumeResult::Ok(())
    };
    let endpoint = Endpoint::new("marks").consumer_with(Arc::clone(&marks), marking);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    let harness = harness.deliver_twice();
    harness.publish(&Ordered { number: 1 }).await?;
    harness.quiescent().await;
    assert_eq!(*marks.lock().unwrap(), [false, true]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_does_so_twice_and_no_more() -> Outcome {
    let endpoint = Endpoint::new("failing").consumer(fail);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    let harness = harness.deliver_twice();
    harness.publish(&Ordered { number: 1 }).await?;
    harness.quiescent().await;
    assert_eq!(harness.faulted::<Ordered>().count(), 2);
    assert_eq!(harness.transport().waiting("failing_error"), Some(2));
    assert_eq!(harness.transport().waiting("failing"), Some(0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_when_everything_comes_twice() -> Outcome {
    async fn answer(ctx: ConsumeContext<Ordered>) -> ConsumeResult {
        let number = ctx.message().number;
        Ok(ctx.respond(&Paid { number }).await?)
    }
    let endpoint = Endpoint::new("oracle").consumer(answer);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    let harness = harness.deliver_twice().shuffle(1);
    for number in 0..3 {
        let reply: Paid = harness.bus().request(&Ordered { number }).await?;
        assert_eq!(reply.number, number);
    }
    harness.quiescent().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_order_and_another_seed_another() -> Outcome {
    let (first, again, other) = (order(1).await?, order(1).await?, order(2).await?);
    assert_eq!(first, again);
    assert_ne!(first, other);
    let mut sorted = first.clone();
    sorted.sort();
    assert_ne!(first, sorted);
    let all: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(sorted, all);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_effect_overtakes_its_cause() -> Outcome {
    let mut overtook = 0;
    for seed in 0..10 {
        let seen = Seen::default();
        let watching = watching(&seen);
        let harness = Harness::start(|bus| bus.endpoint(payments()).endpoint(watching)).await?;
        let harness = harness.shuffle(seed);
        harness.publish(&Ordered { number: 1 }).await?;
        harness.quiescent().await;
        let seen = seen.names();
        assert_eq!(seen.len(), 2, "{seen:?}");
        overtook += u32::from(seen[0] == "paid 1");
    }
    assert!((1..10).contains(&overtook), "{overtook} of 10");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refuses_still_does_so() -> Outcome {
    let endpoint = Endpoint::on(Queue::classic("full").max_length(1, Overflow::RejectPublish));
    let harness = Harness::start(|bus| bus.endpoint(endpoint.consumer(fail))).await?;
    let harness = harness.deliver_twice().shuffle(1);
    let full = harness.bus().endpoint("full").unwrap();
    full.pause().await;
    harness.publish(&Ordered { number: 1 }).await?;
    assert!(harness.publish(&Ordered { number: 2 }).await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_consumer_are_kept_once() -> Outcome {
    let harness = Harness::start(|bus| bus).await?;
    let harness = harness.deliver_twice().shuffle(1);
    harness
        .send_to("queue:later", &Ordered { number: 1 })
        .await?;
    harness.quiescent().await;
    assert_eq!(harness.transport().waiting("later"), Some(1));
    Ok(())
}
