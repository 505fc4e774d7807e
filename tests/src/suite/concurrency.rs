//! How many messages are handled at once, in which order, and how that is interrupted.

use bus_core::{ConsumeContext, Endpoint};

use crate::contracts::{Cancelled, LAST, Ordered, Place};
use crate::gate::Gate;
use crate::outcome::Outcome;
use crate::recorder::{Recorder, numbers, with};
use crate::stage::Stage;
use crate::wait::eventually;

fn waits<M: bus_core::Message>(gate: &Gate) -> impl bus_core::Consumer<M> {
    with(gate.clone(), |gate, _: ConsumeContext<M>| async move {
        gate.pass().await;
        Ok(())
    })
}

/// FC-02: the limit holds for all message types of an endpoint together, and is used in full.
pub async fn the_limit_holds_over_all_types(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("limited");
    let gate = Gate::closed();
    let endpoint = Endpoint::new(&queue)
        .concurrency(3)
        .prefetch(20)
        .consumer(waits::<Place>(&gate))
        .consumer(waits::<Cancelled>(&gate));
    let bus = stage.bus().endpoint(endpoint).start().await?;
    for number in 0..10 {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
        bus.send_to(format!("queue:{queue}"), &Cancelled { number })
            .await?;
    }
    gate.holds(3).await;
    eventually("all are handed out", || async {
        stage.depth(&queue).await == Some(0)
    })
    .await;
    assert_eq!(gate.waiting(), 3, "all are here, three of them run");
    gate.open();
    bus.shutdown().await?;
    assert_eq!(gate.most(), 3);
    Ok(())
}

/// FC-05: no more messages are handed out than the prefetch count says; the rest stay in the queue.
pub async fn prefetch_bounds_what_is_handed_out(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("bounded");
    let (seen, gate) = (Recorder::<Place>::new(), Gate::closed());
    let sender = stage.bus().start().await?;
    for number in 0..30 {
        sender
            .send_to(format!("queue:{queue}"), &Place { number })
            .await?;
    }
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .prefetch(10)
        .consumer(with(
            (seen.clone(), gate.clone()),
            |(seen, gate): (Recorder<Place>, Gate), ctx: ConsumeContext<Place>| async move {
                gate.pass().await;
                seen.note(&ctx);
                Ok(())
            },
        ));
    let bus = stage.bus().endpoint(endpoint).start().await?;
    gate.holds(2).await;
    eventually("ten are handed out", || async {
        stage.depth(&queue).await == Some(20)
    })
    .await;
    gate.open();
    seen.take(30).await;
    bus.shutdown().await?;
    assert_eq!(stage.depth(&queue).await, Some(0));
    sender.shutdown().await?;
    Ok(())
}

/// OR-02: with concurrency 1 messages are handled one by one, in the order in which they were sent.
pub async fn concurrency_1_keeps_the_order(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("ordered");
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
    let endpoint = Endpoint::new(&queue)
        .concurrency(1)
        .prefetch(50)
        .consumer(consumer);
    let bus = stage.bus().endpoint(endpoint).start().await?;
    for number in 0..100 {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
    }
    let order: Vec<_> = seen
        .take(100)
        .await
        .iter()
        .map(|call| call.message().number)
        .collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
    assert_eq!(running.most(), 1);
    bus.shutdown().await?;
    Ok(())
}

/// OR-03: with concurrency 1 and prefetch 1 the second message stays in the queue until the first is done.
pub async fn the_second_message_waits_for_the_first(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("single");
    let gate = Gate::closed();
    let endpoint = Endpoint::new(&queue)
        .concurrency(1)
        .prefetch(1)
        .consumer(waits::<Place>(&gate));
    let bus = stage.bus().endpoint(endpoint).start().await?;
    for number in 0..3 {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
    }
    gate.holds(1).await;
    assert_eq!(stage.depth(&queue).await, Some(2));
    gate.open();
    eventually("all are handled", || async {
        stage.depth(&queue).await == Some(0)
    })
    .await;
    bus.shutdown().await?;
    assert_eq!(gate.most(), 1);
    Ok(())
}

/// The limit of an endpoint wins over that of its bus.
pub async fn the_limit_of_the_endpoint_wins(stage: &dyn Stage) -> Outcome {
    let (own, general) = (Gate::closed(), Gate::closed());
    let bus = stage
        .bus()
        .concurrency(2)
        .endpoint(
            Endpoint::new(stage.name("own"))
                .concurrency(4)
                .consumer(waits::<Ordered>(&own)),
        )
        .endpoint(Endpoint::new(stage.name("general")).consumer(waits::<Ordered>(&general)))
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

/// PS-30: a bus starts in front of a long queue and works it off.
pub async fn a_long_queue_is_worked_off(stage: &dyn Stage) -> Outcome {
    const COUNT: u32 = 1_000;
    let queue = stage.name("backlog");
    let sender = stage.bus().start().await?;
    let address = format!("queue:{queue}");
    let sends = (0..COUNT).map(|number| {
        sender
            .send_to(address.as_str(), &Place { number })
            .into_future()
    });
    for outcome in futures_util::future::join_all(sends).await {
        outcome?;
    }
    assert_eq!(stage.depth(&queue).await, Some(COUNT));
    let seen = Recorder::<Place>::new();
    let bus = stage
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(seen.clone()))
        .start()
        .await?;
    assert_eq!(
        numbers(&seen.take(COUNT as usize).await),
        (0..COUNT).collect::<Vec<_>>()
    );
    bus.shutdown().await?;
    sender.shutdown().await?;
    assert_eq!(stage.depth(&queue).await, Some(0));
    Ok(())
}

/// A paused endpoint takes no messages, they wait in its queue; resumed, it goes on. Others are not affected.
pub async fn a_paused_endpoint_leaves_messages_in_its_queue(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("pausing");
    let (seen, other) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let bus = stage
        .bus()
        .endpoint(Endpoint::new(&queue).concurrency(1).consumer(seen.clone()))
        .endpoint(
            Endpoint::new(stage.name("other"))
                .concurrency(1)
                .consumer(other.clone()),
        )
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
    assert_eq!(stage.depth(&queue).await, Some(3));
    assert_eq!(seen.calls(), 1);
    endpoint.resume().await?;
    assert!(endpoint.is_running() && bus.health().is_healthy());
    assert_eq!(numbers(&seen.until_last().await), [2, 3]);
    bus.shutdown().await?;
    Ok(())
}

/// Pausing waits for what runs, and gives back what was only handed out.
pub async fn pausing_waits_for_what_runs(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("pausing");
    let gate = Gate::closed();
    let endpoint = Endpoint::new(&queue)
        .concurrency(1)
        .prefetch(10)
        .consumer(waits::<Place>(&gate));
    let bus = stage.bus().endpoint(endpoint).start().await?;
    for number in 0..5 {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
    }
    gate.holds(1).await;
    let handle = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    let pausing = tokio::spawn(async move { handle.pause().await });
    eventually("the others are back", || async {
        stage.depth(&queue).await == Some(4)
    })
    .await;
    assert!(!pausing.is_finished(), "one still runs");
    gate.open();
    pausing.await?;
    assert_eq!(stage.depth(&queue).await, Some(4));
    bus.shutdown().await?;
    Ok(())
}

/// An endpoint may be paused and resumed again and again, also when it is so already.
pub async fn pausing_twice_is_fine(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("pausing");
    let seen = Recorder::<Place>::new();
    let bus = stage
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(seen.clone()))
        .start()
        .await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    for number in 0..3 {
        endpoint.pause().await;
        endpoint.pause().await;
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
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

/// At most once: the message is gone before its consumer runs, so a failure loses it, and nobody keeps it.
pub async fn at_most_once_acknowledges_first(stage: &dyn Stage) -> Outcome {
    let queue = stage.name("lossy");
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
    let endpoint = Endpoint::new(&queue)
        .concurrency(1)
        .prefetch(1)
        .at_most_once()
        .consumer(consumer);
    let bus = stage.bus().endpoint(endpoint).start().await?;
    for number in [1, 2] {
        bus.send_to(format!("queue:{queue}"), &Place { number })
            .await?;
    }
    gate.holds(1).await;
    // Prefetch 1: the second one is handed out only if the first one is acknowledged while it runs.
    eventually("the first one is acknowledged", || async {
        stage.depth(&queue).await == Some(0)
    })
    .await;
    gate.open();
    bus.send_to(format!("queue:{queue}"), &Place { number: LAST })
        .await?;
    assert_eq!(numbers(&seen.until_last().await), [1, 2]);
    bus.shutdown().await?;
    assert_eq!(stage.depth(&queue).await, Some(0));
    assert_eq!(stage.depth(&format!("{queue}_error")).await.unwrap_or(0), 0);
    Ok(())
}
