//! Batches: when they are complete, and what they have room for.

use std::time::Duration;

use bus_core::batch::{Batch, BatchConsumer, Batching};
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Policy};

use crate::support::batches::Batches;
use crate::support::contracts::Place;
use crate::support::fixture::places;
use crate::support::{Gate, Outcome, Recorder};
use crate::test_broker::TestBroker;

pub(super) const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A batch that ends when it is full, or when nothing can join it any more.
pub(super) fn full(size: usize) -> Batching<Place> {
    Batching::of(size).within(HOUR)
}

/// Starts a bus with one endpoint.
pub(super) async fn start(broker: &dyn TestBroker, endpoint: Endpoint) -> Outcome<(Bus, String)> {
    let queue = endpoint.name().to_owned();
    Ok((broker.start(endpoint).await?, queue))
}

pub(super) fn endpoint(
    broker: &dyn TestBroker,
    batching: Batching<Place>,
    consumer: impl BatchConsumer<Place>,
) -> Endpoint {
    Endpoint::new(broker.name("batched")).batch(batching, consumer)
}

/// Stops, and proves which queues the messages are in.
pub(super) async fn stop(broker: &dyn TestBroker, bus: Bus, queue: &str, failed: u32) -> Outcome {
    bus.shutdown().await?;
    assert_eq!(broker.depth(queue).await, Some(0));
    let errors = broker.depth(&format!("{queue}_error")).await;
    assert_eq!(errors.unwrap_or(0), failed);
    Ok(())
}

/// A batch is consumed as soon as it is full.
async fn a_full_batch_does_not_wait(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let endpoint = endpoint(broker, full(3), batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..6).await?;
    let [one, other] = [batches.next().await, batches.next().await];
    assert_eq!((one.len(), other.len()), (3, 3));
    let mut all = [one, other].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    stop(broker, bus, &queue, 0).await
}

/// A batch that does not become full is consumed after its time.
async fn a_batch_that_is_not_full_ends_with_its_time(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let batching = Batching::of(100).within(20 * MILLI);
    let endpoint = endpoint(broker, batching, batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    for number in [1, 2] {
        places(&bus, &queue, [number]).await?;
        assert_eq!(batches.next().await, [number]);
    }
    stop(broker, bus, &queue, 0).await
}

/// An endpoint that sets no limits handles enough messages at once for its batches.
async fn an_endpoint_has_room_for_its_batches(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let endpoint = endpoint(broker, full(60), batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..60).await?;
    assert_eq!(batches.next().await, (0..60).collect::<Vec<_>>());
    stop(broker, bus, &queue, 0).await
}

/// Messages of different keys are in different batches.
async fn each_key_has_its_own_batches(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let by_tens = full(2).group_by(|ctx: &ConsumeContext<Place>| ctx.message().number / 10);
    let endpoint = Endpoint::new(broker.name("grouped")).batch(by_tens, batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, [0, 10, 20, 1, 11, 21]).await?;
    let mut all = vec![
        batches.next().await,
        batches.next().await,
        batches.next().await,
    ];
    all.sort_unstable();
    assert_eq!(all, [[0, 1], [10, 11], [20, 21]]);
    stop(broker, bus, &queue, 0).await
}

/// Starts an endpoint with two messages that wait for more, for an hour.
///
/// The second one may join after the first one had to go.
async fn half_full(broker: &dyn TestBroker, batches: &Batches) -> Outcome<(Bus, String)> {
    let joined = Recorder::<Place>::new();
    let watched = {
        let joined = joined.clone();
        full(10).group_by(move |ctx: &ConsumeContext<Place>| joined.note(ctx))
    };
    let endpoint = Endpoint::new(broker.name("half-full")).batch(watched, batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..2).await?;
    joined.take(2).await;
    Ok((bus, queue))
}

/// A stop does not wait for the time of a batch, nor does it lose its members.
async fn a_stop_has_the_members_consumed(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let (bus, queue) = half_full(broker, &batches).await?;
    stop(broker, bus, &queue, 0).await?;
    assert_eq!(batches.take(2).await, [0, 1]);
    Ok(())
}

/// A pause does not wait for the time of a batch; the endpoint goes on after it.
async fn a_pause_has_the_members_consumed(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let (bus, queue) = half_full(broker, &batches).await?;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    handle.pause().await;
    assert_eq!(batches.take(2).await, [0, 1]);
    handle.resume().await?;
    places(&bus, &queue, 0..10).await?;
    assert_eq!(batches.next().await, (0..10).collect::<Vec<_>>());
    stop(broker, bus, &queue, 0).await
}

/// A batch that is cut off by the stop goes back, each member of it.
async fn a_batch_that_is_cut_off_goes_back(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let endpoint = endpoint(broker, full(3), held(&gate, &Batches::new()));
    let queue = endpoint.name().to_owned();
    let brief = broker.bus().stop_timeout(50 * MILLI);
    let bus = brief.endpoint(endpoint).start().await?;
    places(&bus, &queue, 0..3).await?;
    gate.holds(1).await;
    bus.shutdown().await.expect_err("the batch is cut off");
    gate.holds(0).await;
    broker.until_depth(&queue, 3).await;
    Ok(())
}

/// A consumer that holds each batch at a gate, and records it when it has passed.
fn held(gate: &Gate, batches: &Batches) -> impl BatchConsumer<Place> + use<> {
    let (gate, batches) = (gate.clone(), batches.clone());
    move |batch: Batch<Place>| {
        let (gate, batches) = (gate.clone(), batches.clone());
        async move {
            gate.pass().await;
            batches.note(&batch);
            ConsumeResult::Ok(())
        }
    }
}

/// Only so many batches are consumed at once, though more messages are there.
async fn batches_in_parallel_are_limited(broker: &dyn TestBroker) -> Outcome {
    let (gate, batches) = (Gate::closed(), Batches::new());
    let consumer = held(&gate, &batches);
    let endpoint = endpoint(broker, full(2).in_parallel(2), consumer).concurrency(8);
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..8).await?;
    gate.holds(2).await;
    broker.until_prefetched(&queue).await;
    assert_eq!(gate.waiting(), 2);
    gate.open();
    batches.take(8).await;
    stop(broker, bus, &queue, 0).await?;
    assert_eq!(gate.most(), 2);
    Ok(())
}

/// With fewer slots than a batch has members, it does not wait for those.
async fn a_lowered_concurrency_makes_smaller_batches(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let endpoint = endpoint(broker, full(4), batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    handle.set_concurrency(2)?;
    places(&bus, &queue, 0..6).await?;
    let mut count = 0;
    while count < 6 {
        let batch = batches.next().await;
        assert!(batch.len() <= 2, "{batch:?}");
        count += batch.len();
    }
    handle.set_concurrency(4)?;
    places(&bus, &queue, 0..4).await?;
    assert_eq!(batches.next().await, [0, 1, 2, 3]);
    stop(broker, bus, &queue, 0).await
}

/// Of many messages each is in one batch.
async fn every_message_is_in_one_batch(broker: &dyn TestBroker) -> Outcome {
    const COUNT: u32 = 1_000;
    let batches = Batches::new();
    let batching = Batching::of(64).within(20 * MILLI).in_parallel(2);
    let endpoint = endpoint(broker, batching, batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..COUNT).await?;
    let mut all = Vec::new();
    while all.len() < COUNT as usize {
        let batch = batches.next().await;
        assert!(batch.len() <= 64, "{}", batch.len());
        all.extend(batch);
    }
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..COUNT), "{all:?}");
    stop(broker, bus, &queue, 0).await
}

/// Settings with which batches could never be full are reported, with the numbers.
async fn settings_that_cannot_work_are_mistakes(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let on = |name: &str, batching| Endpoint::new(name).batch(batching, batches.consumer());
    let large = || full(100).in_parallel(2);
    let endpoints = [
        on("empty", full(0)),
        on("hasty", Batching::of(2).within(Duration::ZERO)),
        on("idle", full(2).in_parallel(0)),
        on("narrow", large()).concurrency(150),
        on("short", large()).policy(Policy::new().prefetch(20)),
        on("vast", full(70_000)).policy(Policy::new().prefetch(1)),
    ];
    let bus = endpoints
        .into_iter()
        .fold(broker.bus(), bus_core::BusBuilder::endpoint);
    let error = bus
        .start()
        .await
        .err()
        .ok_or("they are mistakes")?
        .to_string();
    for expected in [
        "`empty`: its batches have a size of 0",
        "`hasty`: its batches wait for no time",
        "`idle`: it consumes 0 batches in parallel",
        "`narrow`: concurrency is 150, below the 200 messages of its batches",
        "`short`: prefetch is 20, below its concurrency of 200",
        "`vast`: its batches need 70000 messages at once",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    Ok(())
}

behaviours! { batches:
    a_full_batch_does_not_wait,
    a_batch_that_is_not_full_ends_with_its_time,
    an_endpoint_has_room_for_its_batches,
    each_key_has_its_own_batches,
    a_stop_has_the_members_consumed,
    a_pause_has_the_members_consumed,
    a_batch_that_is_cut_off_goes_back,
    batches_in_parallel_are_limited,
    a_lowered_concurrency_makes_smaller_batches,
    every_message_is_in_one_batch,
    settings_that_cannot_work_are_mistakes,
}
