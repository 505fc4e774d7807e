//! The harness: what it records, and when it says that everything is done.

use std::time::Duration;

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, Policy, Retry};
use bus_inmemory::{Harness, InMemory, Record};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Chain:Step")]
struct Step {
    left: u32,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Chain:Ask")]
struct Ask {
    text: String,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Chain:Answer")]
struct Answer {
    text: String,
}

/// Publishes the next step until none is left.
async fn go_on(ctx: ConsumeContext<Step>) -> ConsumeResult {
    if let Some(left) = ctx.message().left.checked_sub(1) {
        ctx.publish(&Step { left }).await?;
    }
    Ok(())
}

async fn fail(_: ConsumeContext<Step>) -> ConsumeResult {
    Err("it never works".into())
}

async fn hang(_: ConsumeContext<Step>) -> ConsumeResult {
    std::future::pending().await
}

async fn work_an_hour(_: ConsumeContext<Step>) -> ConsumeResult {
    tokio::time::sleep(HOUR).await;
    Ok(())
}

async fn answer(ctx: ConsumeContext<Ask>) -> ConsumeResult {
    let text = ctx.message().text.to_uppercase();
    Ok(ctx.respond(&Answer { text }).await?)
}

fn chain() -> Endpoint {
    Endpoint::new("chain").consumer(go_on)
}

#[tokio::test(start_paused = true)]
async fn quiescence_is_after_everything_that_one_message_caused() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    harness.publish(&Step { left: 100 }).await?;
    harness.quiescent().await;
    assert_eq!(harness.published::<Step>().count(), 101);
    assert_eq!(harness.consumed::<Step>().count(), 101);
    assert!(harness.in_flight().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn quiescence_is_known_across_threads() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    for round in 1..=50 {
        harness.publish(&Step { left: 20 }).await?;
        harness.quiescent().await;
        assert_eq!(harness.consumed::<Step>().count(), 21 * round);
        assert_eq!(harness.published::<Step>().count(), 21 * round);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_quiet_bus_is_quiescent_at_once() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    let began = tokio::time::Instant::now();
    harness.quiescent().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn hours_of_retries_end_in_a_record_of_the_fault() -> Outcome {
    let endpoint = Endpoint::new("chain").retry(Retry::interval(3, HOUR));
    let harness = Harness::start(|bus| bus.endpoint(endpoint.consumer(fail)))
        .await?
        .timeout(HOUR * 4);
    harness.publish(&Step { left: 1 }).await?;
    harness.quiescent().await;
    let faulted = harness.faulted::<Step>().all();
    assert_eq!(faulted.len(), 1);
    assert_eq!(faulted[0].attempts(), 4);
    assert_eq!(faulted[0].error(), Some("it never works"));
    assert_eq!(faulted[0].endpoint(), Some("chain"));
    assert!(harness.consumed::<Step>().none());
    let raised = harness.faults::<Step>().all();
    assert_eq!(raised[0].message().exceptions[0].message, "it never works");
    assert_eq!(harness.transport().waiting("chain_error"), Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_may_come_later() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    let steps = harness.consumed::<Step>();
    let publish = async { harness.publish(&Step { left: 9 }).await };
    let (last, published) = tokio::join!(steps.wait_for(|step| step.left == 0), publish);
    published?;
    assert_eq!(last?.message().left, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_never_comes_is_an_error_that_says_what_came() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    harness.publish(&Step { left: 0 }).await?;
    let missing = harness.consumed::<Step>().wait_for(|step| step.left == 7);
    let error = missing.await.unwrap_err().to_string();
    assert!(
        error.starts_with("no Chain:Step that matches was consumed within 30s"),
        "{error}"
    );
    assert!(
        error.contains(r#"consumed  Chain:Step on chain: {"left":0}"#),
        "{error}"
    );
    let nothing = harness.sent::<Ask>().wait().await.unwrap_err();
    assert_eq!(format!("{nothing:?}"), nothing.to_string());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stuck_consumer_is_named() -> Outcome {
    let endpoint = Endpoint::new("stuck")
        .concurrency(1)
        .policy(Policy::new().prefetch(2));
    let harness = Harness::start(|bus| bus.endpoint(endpoint.consumer(hang))).await?;
    for left in [1, 2, 3] {
        harness.publish(&Step { left }).await?;
    }
    let stuck = harness.try_quiescent().await.unwrap_err();
    let text = stuck.to_string();
    assert!(
        text.starts_with("not quiescent after 30s; in flight:"),
        "{text}"
    );
    assert!(text.contains("on stuck: being handled"), "{text}");
    assert!(text.contains("on stuck: prefetched"), "{text}");
    assert_eq!(stuck.in_flight().len(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "Chain:Step")]
async fn waiting_for_a_stuck_consumer_fails_the_test() {
    let endpoint = Endpoint::new("stuck").consumer(hang);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    harness.publish(&Step { left: 1 }).await.unwrap();
    harness.quiescent().await;
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_are_acknowledged_first_are_work_too() -> Outcome {
    let endpoint = Endpoint::new("slow").at_most_once().consumer(work_an_hour);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    let harness = harness.timeout(HOUR * 2);
    harness.publish(&Step { left: 1 }).await?;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Step>().count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn delayed_messages_are_not_in_flight_until_they_are_due() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    let step = harness.publish(&Step { left: 0 });
    step.deliver_in(HOUR).await?;
    harness.quiescent().await;
    assert!(harness.consumed::<Step>().none());
    assert_eq!(harness.delayed(), 1);
    tokio::time::advance(HOUR).await;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Step>().count(), 1);
    assert_eq!(harness.delayed(), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_consumer_are_not_in_flight() -> Outcome {
    let harness = Harness::start(|bus| bus).await?;
    let sending = harness.send_to("queue:nobody", &Step { left: 0 });
    sending.await?;
    harness.quiescent().await;
    assert_eq!(harness.sent::<Step>().count(), 1);
    assert_eq!(harness.transport().waiting("nobody"), Some(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_paused_endpoint_holds_nothing_up() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    let endpoint = harness.bus().endpoint("chain").unwrap();
    endpoint.pause().await;
    harness.publish(&Step { left: 0 }).await?;
    harness.quiescent().await;
    assert!(harness.consumed::<Step>().none());
    endpoint.resume().await?;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Step>().count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn several_buses_are_seen_by_one_harness() -> Outcome {
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    let other = Endpoint::new("other").consumer(go_on);
    let other = harness.start_bus(|bus| bus.endpoint(other)).await?;
    other.publish(&Step { left: 0 }).await?;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Step>().count(), 2);
    assert_eq!(harness.consumed::<Step>().on("other").count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_and_their_answers_are_recorded() -> Outcome {
    let endpoint = Endpoint::new("oracle").consumer(answer);
    let route = |bus: bus_core::BusBuilder| bus.route::<Ask>("queue:oracle").endpoint(endpoint);
    let harness = Harness::start(route).await?;
    let text = "why".to_owned();
    let reply: Answer = harness.bus().request(&Ask { text }).await?;
    assert_eq!(reply.text, "WHY");
    harness.quiescent().await;
    assert!(harness.sent::<Ask>().any(|ask| ask.text == "why"));
    assert_eq!(harness.responded::<Answer>().count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_marked() -> Outcome {
    let store = MemoryIdempotencyStore::new();
    let harness = Harness::start(|bus| bus.endpoint(chain().idempotency(store))).await?;
    let id = Uuid::from_u128(7);
    for _ in 0..2 {
        let step = harness.publish(&Step { left: 0 });
        step.message_id(id).await?;
        harness.quiescent().await;
    }
    let consumed = harness.consumed::<Step>().all();
    let duplicates: Vec<_> = consumed.iter().map(Record::is_duplicate).collect();
    assert_eq!(duplicates, [false, true]);
    assert_eq!(consumed[0].envelope().message_id, Some(id));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_counted_and_named() -> Outcome {
    #[derive(Debug, Serialize, Deserialize, Message)]
    #[message("Chain:Step")]
    struct OtherStep {
        left: String,
    }
    let harness = Harness::start(|bus| bus.endpoint(chain())).await?;
    let left = "many".to_owned();
    harness.publish(&OtherStep { left }).await?;
    harness.quiescent().await;
    let faulted = harness.faulted::<Step>();
    assert_eq!(faulted.count(), 1);
    assert!(!faulted.any(|_| true));
    assert!(faulted.all()[0].try_message().is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_harness_can_share_a_broker_with_what_it_does_not_see() -> Outcome {
    let broker = InMemory::new();
    let foreign = bus_core::Bus::builder(broker.clone()).start().await?;
    let harness = Harness::start_on(broker, |bus| bus.endpoint(chain())).await?;
    foreign.publish(&Step { left: 1 }).await?;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Step>().count(), 2);
    assert_eq!(harness.published::<Step>().count(), 1);
    harness.shutdown().await?;
    Ok(())
}
