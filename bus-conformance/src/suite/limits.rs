//! Limits that are changed while an endpoint runs: concurrency and prefetch.

use bus_core::error::LimitError;
use bus_core::{Bus, ConsumeContext, Consumer, Endpoint, EndpointHandle, Policy};

use crate::support::contracts::Place;
use crate::support::fixture::{in_order, places, serial};
use crate::support::{Gate, Outcome, Recorder, numbers, with};
use crate::test_broker::TestBroker;

/// A consumer that records its messages, and lets them wait at a gate.
///
/// Those below `count` wait at the first, the others at the next.
fn waits(seen: &Recorder<Place>, count: u32, gates: [&Gate; 2]) -> impl Consumer<Place> + use<> {
    let gates = gates.map(Gate::clone);
    seen.then(move |ctx: ConsumeContext<Place>| {
        let gate = gates[usize::from(ctx.message().number >= count)].clone();
        async move {
            gate.pass().await;
            Ok(())
        }
    })
}

fn waits_at(gate: &Gate) -> impl Consumer<Place> + use<> {
    with(gate.clone(), |gate, _: ConsumeContext<Place>| async move {
        gate.pass().await;
        Ok(())
    })
}

fn handle(bus: &Bus, queue: &str) -> Outcome<EndpointHandle> {
    Ok(bus.endpoint(queue).ok_or("the endpoint is there")?)
}

/// More messages run as soon as the concurrency is raised.
///
/// Also on an endpoint that handled one at a time.
async fn a_higher_concurrency_holds_at_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("raised");
    let gate = Gate::closed();
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(20))
        .consumer(waits_at(&gate));
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    places(&bus, &queue, 0..10).await?;
    gate.holds(1).await;
    endpoint.set_concurrency(4)?;
    gate.holds(4).await;
    broker.until_prefetched(&queue).await;
    assert_eq!((gate.waiting(), endpoint.concurrency()), (4, 4));
    gate.open();
    bus.shutdown().await?;
    assert_eq!(gate.most(), 4);
    Ok(())
}

/// With a lower concurrency no message begins before enough have ended.
async fn a_lower_concurrency_lets_those_that_run_end(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("lowered");
    let (seen, first, rest) = (Recorder::new(), Gate::closed(), Gate::closed());
    let endpoint = Endpoint::new(&queue)
        .concurrency(4)
        .policy(Policy::new().prefetch(20))
        .consumer(waits(&seen, 4, [&first, &rest]));
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..4).await?;
    first.holds(4).await;
    handle(&bus, &queue)?.set_concurrency(1)?;
    places(&bus, &queue, 4..12).await?;
    broker.until_prefetched(&queue).await;
    assert_eq!((first.waiting(), rest.waiting()), (4, 0));
    first.open();
    rest.holds(1).await;
    rest.open();
    let calls = seen.take(12).await;
    assert_eq!(in_order(&calls[4..]), (4..12).collect::<Vec<_>>(), "order");
    bus.shutdown().await?;
    assert_eq!(rest.most(), 1);
    Ok(())
}

/// Limits that could not work are refused, with what to do instead.
async fn limits_that_cannot_work_are_refused(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("refused");
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(Policy::new().prefetch(4))
        .consumer(Recorder::<Place>::new());
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    let zero = endpoint.set_concurrency(0);
    assert!(matches!(zero, Err(LimitError::ZeroConcurrency)), "{zero:?}");
    let text = zero.err().ok_or("it is refused")?.to_string();
    assert!(text.contains("pause"), "{text}");
    let above = endpoint.set_concurrency(5);
    let is_above = matches!(
        above,
        Err(LimitError::PrefetchBelowConcurrency {
            prefetch: 4,
            concurrency: 5,
            ..
        })
    );
    assert!(is_above, "{above:?}");
    for count in [0, 1] {
        assert!(endpoint.set_prefetch(count).await.is_err(), "{count}");
    }
    assert_eq!((endpoint.concurrency(), endpoint.prefetch()), (2, 4));
    bus.shutdown().await?;
    Ok(())
}

/// More messages are handed out as soon as the prefetch is raised, each once.
async fn a_higher_prefetch_holds_at_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("raised");
    let (seen, gate) = (Recorder::new(), Gate::closed());
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(Policy::new().prefetch(2))
        .consumer(waits(&seen, 0, [&gate, &gate]));
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    places(&bus, &queue, 0..12).await?;
    gate.holds(2).await;
    broker.until_depth(&queue, 10).await;
    endpoint.set_prefetch(6).await?;
    eventually_below(broker, &queue, 7).await;
    assert_eq!((gate.waiting(), endpoint.prefetch()), (2, 6));
    endpoint.set_concurrency(6)?;
    gate.holds(6).await;
    gate.open();
    let calls = seen.take(12).await;
    assert_eq!(numbers(&calls), (0..12).collect::<Vec<_>>());
    assert!(calls.iter().all(|call| !call.redelivered()));
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 12);
    Ok(())
}

/// Waits until fewer messages wait.
///
/// Those that were handed out may count with the new prefetch, or not.
async fn eventually_below(broker: &dyn TestBroker, queue: &str, count: u32) {
    crate::support::eventually("more are handed out", || async {
        broker.depth(queue).await.is_some_and(|depth| depth < count)
    })
    .await;
}

/// With a lower prefetch, no more is handed out next than it says.
async fn a_lower_prefetch_holds_for_what_is_handed_out_next(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("lowered");
    let (seen, first, rest) = (Recorder::new(), Gate::closed(), Gate::closed());
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(Policy::new().prefetch(10))
        .consumer(waits(&seen, 10, [&first, &rest]));
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..30).await?;
    first.holds(2).await;
    broker.until_depth(&queue, 20).await;
    handle(&bus, &queue)?.set_prefetch(2).await?;
    first.open();
    rest.holds(2).await;
    broker.until_depth(&queue, 18).await;
    rest.open();
    let calls = seen.take(30).await;
    assert!(calls.iter().all(|call| !call.redelivered()));
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 30);
    Ok(())
}

/// A change of the prefetch keeps the order, and brings no message back.
async fn the_order_outlives_changes_of_the_prefetch(broker: &dyn TestBroker) -> Outcome {
    const COUNT: u32 = 200;
    let queue = broker.name("ordered");
    let seen = Recorder::<Place>::new();
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(5))
        .consumer(seen.clone());
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..COUNT).await?;
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    let mut calls = Vec::new();
    for prefetch in [20, 1, 7, 2, 30, 3] {
        calls.extend(seen.take(20).await);
        endpoint.set_prefetch(prefetch).await?;
    }
    calls.extend(seen.take(COUNT as usize - calls.len()).await);
    assert_eq!(in_order(&calls), (0..COUNT).collect::<Vec<_>>());
    assert!(calls.iter().all(|call| !call.redelivered()));
    bus.shutdown().await?;
    sender.shutdown().await?;
    assert_eq!(seen.calls(), COUNT as usize);
    Ok(())
}

/// Limits may be changed while the endpoint is paused, and hold when it is resumed.
async fn limits_outlive_a_pause(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("paused");
    let gate = Gate::closed();
    let endpoint = serial(&queue).consumer(waits_at(&gate));
    let bus = broker.start(endpoint).await?;
    let endpoint = handle(&bus, &queue)?;
    endpoint.pause().await;
    endpoint.set_prefetch(5).await?;
    endpoint.set_concurrency(3)?;
    places(&bus, &queue, 0..10).await?;
    endpoint.resume().await?;
    gate.holds(3).await;
    broker.until_depth(&queue, 5).await;
    assert_eq!(gate.waiting(), 3);
    gate.open();
    bus.shutdown().await?;
    Ok(())
}

behaviours! { limits:
    a_higher_concurrency_holds_at_once,
    a_lower_concurrency_lets_those_that_run_end,
    limits_that_cannot_work_are_refused,
    a_higher_prefetch_holds_at_once needs Prefetch,
    a_lower_prefetch_holds_for_what_is_handed_out_next needs Prefetch,
    the_order_outlives_changes_of_the_prefetch needs Prefetch,
    limits_outlive_a_pause needs Prefetch,
}
