//! Concurrency: limits, order, pauses.

use bus_core::{ConsumeContext, Endpoint, Policy};

use crate::support::contracts::{Cancelled, LAST, Ordered, Place};
use crate::support::fixture::{in_order, place, places, serial};
use crate::support::{Gate, Outcome, Recorder, eventually, numbers, with};
use crate::test_broker::TestBroker;

fn waits<M: bus_core::Message>(gate: &Gate) -> impl bus_core::Consumer<M> {
    with(gate.clone(), |gate, _: ConsumeContext<M>| async move {
        gate.pass().await;
        Ok(())
    })
}

/// The limit holds for all message types of an endpoint together, and is used in
/// full.
async fn the_limit_holds_over_all_types(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("limited");
    let gate = Gate::closed();
    let endpoint = Endpoint::new(&queue)
        .concurrency(3)
        .policy(Policy::new().prefetch(20))
        .consumer(waits::<Place>(&gate))
        .consumer(waits::<Cancelled>(&gate));
    let bus = broker.start(endpoint).await?;
    for number in 0..10 {
        place(&bus, &queue, number).await?;
        bus.send_to(format!("queue:{queue}"), &Cancelled { number })
            .await?;
    }
    gate.holds(3).await;
    broker.until_prefetched(&queue).await;
    assert_eq!(gate.waiting(), 3, "all are here, three of them run");
    gate.open();
    bus.shutdown().await?;
    assert_eq!(gate.most(), 3);
    Ok(())
}

/// No more messages are handed out than the prefetch count says; the rest stay in
/// the queue.
async fn prefetch_bounds_what_is_handed_out(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("bounded");
    let (seen, gate) = (Recorder::<Place>::new(), Gate::closed());
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..30).await?;
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(Policy::new().prefetch(10))
        .consumer(with(
            (seen.clone(), gate.clone()),
            |(seen, gate): (Recorder<Place>, Gate), ctx: ConsumeContext<Place>| async move {
                gate.pass().await;
                seen.note(&ctx);
                Ok(())
            },
        ));
    let bus = broker.start(endpoint).await?;
    gate.holds(2).await;
    broker.until_depth(&queue, 20).await;
    gate.open();
    seen.take(30).await;
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    sender.shutdown().await?;
    Ok(())
}

/// With concurrency 1 messages are handled one by one, in the order in which they
/// were sent.
async fn concurrency_1_keeps_the_order(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("ordered");
    let seen = Recorder::<Place>::new();
    let running = Gate::closed();
    running.open();
    let consumer = with(
        (seen.clone(), running.clone()),
        |(seen, running), ctx: ConsumeContext<Place>| async move {
            running.pass().await;
            tokio::task::yield_now().await;
            seen.note(&ctx);
            Ok(())
        },
    );
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(50))
        .consumer(consumer);
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..100).await?;
    let order = in_order(&seen.take(100).await);
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    assert_eq!(running.most(), 1);
    bus.shutdown().await?;
    Ok(())
}

/// With concurrency 1 and prefetch 1 the second message stays in the queue until
/// the first is done.
async fn the_second_message_waits_for_the_first(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("single");
    let gate = Gate::closed();
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(1))
        .consumer(waits::<Place>(&gate));
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..3).await?;
    gate.holds(1).await;
    assert_eq!(broker.depth(&queue).await, Some(2));
    gate.open();
    broker.until_depth(&queue, 0).await;
    bus.shutdown().await?;
    assert_eq!(gate.most(), 1);
    Ok(())
}

/// The limit of an endpoint wins over that of its bus.
async fn the_limit_of_the_endpoint_wins(broker: &dyn TestBroker) -> Outcome {
    let (own, general) = (Gate::closed(), Gate::closed());
    let bus = broker
        .bus()
        .policy(Policy::new().concurrency(2))
        .endpoint(
            Endpoint::new(broker.name("own"))
                .concurrency(4)
                .consumer(waits::<Ordered>(&own)),
        )
        .endpoint(Endpoint::new(broker.name("general")).consumer(waits::<Ordered>(&general)))
        .start()
        .await?;
    for number in 0..10 {
        bus.publish(&Ordered { number }).await?;
    }
    own.holds(4).await;
    general.holds(2).await;
    own.open();
    general.open();
    bus.shutdown().await?;
    assert_eq!((own.most(), general.most()), (4, 2));
    Ok(())
}

/// A bus starts in front of a long queue and works it off.
async fn a_long_queue_is_worked_off(broker: &dyn TestBroker) -> Outcome {
    const COUNT: u32 = 1_000;
    let queue = broker.name("backlog");
    let sender = broker.bus().start().await?;
    let address = format!("queue:{queue}");
    let sends = (0..COUNT).map(|number| {
        sender
            .send_to(address.as_str(), &Place { number })
            .into_future()
    });
    for outcome in futures_util::future::join_all(sends).await {
        outcome?;
    }
    assert_eq!(broker.depth(&queue).await, Some(COUNT));
    let seen = Recorder::<Place>::new();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    assert_eq!(
        numbers(&seen.take(COUNT as usize).await),
        (0..COUNT).collect::<Vec<_>>()
    );
    bus.shutdown().await?;
    sender.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    Ok(())
}

/// A paused endpoint takes no messages, they wait in its queue; resumed, it goes
/// on. Others are not affected.
async fn a_paused_endpoint_leaves_messages_in_its_queue(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("pausing");
    let (seen, other) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(seen.clone()))
        .endpoint(serial(broker.name("other")).consumer(other.clone()))
        .start()
        .await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    bus.publish(&Ordered { number: 1 }).await?;
    seen.next().await;
    endpoint.pause().await;
    assert!(!endpoint.is_running() && bus.health().is_healthy());
    for number in [2, 3, LAST] {
        bus.publish(&Ordered { number }).await?;
    }
    assert_eq!(numbers(&other.until_last().await), [1, 2, 3]);
    assert_eq!(broker.depth(&queue).await, Some(3));
    assert_eq!(seen.calls(), 1);
    endpoint.resume().await?;
    assert!(endpoint.is_running() && bus.health().is_healthy());
    assert_eq!(numbers(&seen.until_last().await), [2, 3]);
    bus.shutdown().await?;
    Ok(())
}

/// Pausing waits for what runs, and gives back what was only handed out.
async fn pausing_waits_for_what_runs(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("pausing");
    let gate = Gate::closed();
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(10))
        .consumer(waits::<Place>(&gate));
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..5).await?;
    gate.holds(1).await;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    let pausing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.pause().await }
    });
    eventually("the pause is under way", || async { !handle.is_running() }).await;
    broker.until_depth(&queue, 4).await;
    assert!(!pausing.is_finished(), "one still runs");
    gate.open();
    pausing.await?;
    assert_eq!(broker.depth(&queue).await, Some(4));
    bus.shutdown().await?;
    Ok(())
}

/// An endpoint may be paused and resumed again and again, also when it is so
/// already.
async fn pausing_twice_is_fine(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("pausing");
    let seen = Recorder::<Place>::new();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    for number in 0..3 {
        endpoint.pause().await;
        endpoint.pause().await;
        place(&bus, &queue, number).await?;
        assert_eq!(seen.calls(), number as usize);
        endpoint.resume().await?;
        endpoint.resume().await?;
        assert_eq!(seen.next().await.message().number, number);
    }
    assert!(bus.endpoint("another").is_none());
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 3);
    Ok(())
}

/// At most once: the message is gone before its consumer runs, so a failure loses
/// it.
async fn at_most_once_acknowledges_first(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("lossy");
    let gate = Gate::closed();
    let seen = Recorder::<Place>::new();
    let consumer = with(
        (seen.clone(), gate.clone()),
        |(seen, gate), ctx: ConsumeContext<Place>| async move {
            seen.note(&ctx);
            gate.pass().await;
            if ctx.message().number == LAST {
                Ok(())
            } else {
                Err("lost".into())
            }
        },
    );
    let endpoint = serial(&queue)
        .policy(Policy::new().prefetch(1))
        .at_most_once()
        .consumer(consumer);
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, [1, 2]).await?;
    gate.holds(1).await;
    // Prefetch 1: the second one is handed out only if the first one is acknowledged while it runs.
    broker.until_prefetched(&queue).await;
    gate.open();
    place(&bus, &queue, LAST).await?;
    assert_eq!(numbers(&seen.until_last().await), [1, 2]);
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    Ok(())
}

behaviours! { concurrency:
    the_limit_holds_over_all_types,
    prefetch_bounds_what_is_handed_out needs Prefetch,
    concurrency_1_keeps_the_order,
    the_second_message_waits_for_the_first,
    the_limit_of_the_endpoint_wins,
    a_long_queue_is_worked_off,
    a_paused_endpoint_leaves_messages_in_its_queue,
    pausing_waits_for_what_runs,
    pausing_twice_is_fine,
    at_most_once_acknowledges_first,
}
