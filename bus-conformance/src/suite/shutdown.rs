//! Shutdown: nothing is lost, and nothing hangs.

use std::time::Duration;

use bus_core::transport::TransportErrorKind;
use bus_core::{Bus, ConsumeContext, Endpoint, Policy};

use crate::support::contracts::{Answered, Ask, Cancelled, Ordered, Place};
use crate::support::fixture::{place, places, serial};
use crate::support::{Gate, Outcome, Recorder, eventually, numbers, with, within};
use crate::test_broker::TestBroker;

/// Running consumers may finish and still send; prefetched messages go back.
async fn what_runs_finishes_and_the_rest_goes_back(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("stopping"), broker.name("end"));
    let gate = Gate::closed();
    let slow = with(
        (gate.clone(), end.clone()),
        |(gate, end), ctx: ConsumeContext<Place>| async move {
            gate.pass().await;
            let cancelled = Cancelled {
                number: ctx.message().number,
            };
            Ok(ctx.send_to(format!("queue:{end}"), &cancelled).await?)
        },
    );
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .policy(Policy::new().prefetch(20))
        .consumer(slow);
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..10).await?;
    gate.holds(2).await;
    broker.until_prefetched(&queue).await;
    let stopping = tokio::spawn({
        let bus = bus.clone();
        async move { bus.shutdown().await }
    });
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    eventually("the stop is under way", || async { !endpoint.is_running() }).await;
    broker.until_depth(&queue, 8).await;
    assert!(!stopping.is_finished(), "two still run");
    gate.open();
    within("the stop", stopping).await??;
    assert_eq!(broker.depth(&queue).await, Some(8));
    assert_eq!(broker.depth(&end).await, Some(2), "both have sent");
    let seen = Recorder::<Place>::new();
    let next = Endpoint::new(&queue).consumer(seen.clone());
    let next = broker.start(next).await?;
    assert_eq!(numbers(&seen.take(8).await), (2..10).collect::<Vec<_>>());
    next.shutdown().await?;
    Ok(())
}

/// A consumer that runs while its process stops may still answer.
async fn a_running_consumer_may_still_answer(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let queue = broker.name("responder");
    let responder = with(gate.clone(), |gate, ctx: ConsumeContext<Ask>| async move {
        gate.pass().await;
        Ok(ctx
            .respond(&Answered {
                number: ctx.message().number,
            })
            .await?)
    });
    let server = broker
        .start(Endpoint::new(&queue).consumer(responder))
        .await?;
    let client = broker.bus().start().await?;
    let request = client
        .request::<Answered>(&Ask { number: 5 })
        .to(format!("queue:{queue}"));
    let asking = tokio::spawn(request.into_future());
    gate.holds(1).await;
    let stopping = tokio::spawn(async move { server.shutdown().await });
    gate.open();
    within("the stop", stopping).await??;
    assert_eq!(within("the reply", asking).await??.number, 5);
    client.shutdown().await?;
    Ok(())
}

/// A consumer that asks others while its process stops still gets its answer.
async fn a_running_consumer_may_still_ask(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("asker"), broker.name("end"));
    let gate = Gate::closed();
    let responder = Endpoint::new(broker.name("responder"))
        .consumer(with((), |(), ctx: ConsumeContext<Ask>| async move {
            Ok(ctx.respond(&Answered { number: 7 }).await?)
        }));
    let server = broker.start(responder).await?;
    let asker = with(
        (gate.clone(), end.clone()),
        |(gate, end), ctx: ConsumeContext<Place>| async move {
            gate.pass().await;
            let told: Answered = ctx.request(&Ask { number: 1 }).await?;
            Ok(ctx.send_to(format!("queue:{end}"), &told).await?)
        },
    );
    let bus = broker.start(Endpoint::new(&queue).consumer(asker)).await?;
    place(&bus, &queue, 1).await?;
    gate.holds(1).await;
    let stopping = tokio::spawn(async move { bus.shutdown().await });
    gate.open();
    within("the stop", stopping).await??;
    assert_eq!(broker.depth(&end).await, Some(1));
    assert_eq!(broker.depth(&queue).await, Some(0));
    server.shutdown().await?;
    Ok(())
}

/// After the stop timeout consumers are cancelled; their messages come again,
/// marked.
async fn after_the_stop_timeout_consumers_are_cancelled(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("stubborn");
    let told = Gate::closed();
    told.open();
    let running = Gate::closed();
    let watchful = with(
        (running.clone(), told.clone()),
        |(running, told), ctx: ConsumeContext<Place>| async move {
            tokio::select! {
                () = running.pass() => Ok(()),
                () = ctx.cancelled() => {
                    told.pass().await;
                    Err("stopped in the middle".into())
                }
            }
        },
    );
    stops_late(
        broker,
        &queue,
        Endpoint::new(&queue).consumer(watchful),
        &running,
    )
    .await?;
    assert_eq!(told.most(), 1, "the consumer was cancelled");
    Ok(())
}

/// A consumer that ignores the cancellation is dropped, and its message comes
/// again.
async fn a_consumer_that_ignores_cancellation_is_dropped(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("deaf");
    let running = Gate::closed();
    let deaf = with(
        running.clone(),
        |running, _: ConsumeContext<Place>| async move {
            running.pass().await;
            Ok(())
        },
    );
    stops_late(
        broker,
        &queue,
        Endpoint::new(&queue).consumer(deaf),
        &running,
    )
    .await?;
    assert_eq!(running.waiting(), 0, "its future is gone");
    Ok(())
}

/// Stops a bus whose only consumer stands at `running`; its message must come
/// again.
async fn stops_late(
    broker: &dyn TestBroker,
    queue: &str,
    endpoint: Endpoint,
    running: &Gate,
) -> Outcome {
    let bus = broker
        .bus()
        .stop_timeout(Duration::from_millis(100))
        .endpoint(endpoint)
        .start()
        .await?;
    place(&bus, queue, 1).await?;
    running.holds(1).await;
    let outcome = within("the stop", bus.shutdown()).await;
    let error = outcome.expect_err("the consumer was not done in time");
    assert!(error.to_string().contains("100ms"), "{error}");
    broker.until_depth(queue, 1).await;
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    let seen = Recorder::<Place>::new();
    let next = broker
        .start(Endpoint::new(queue).consumer(seen.clone()))
        .await?;
    let call = seen.next().await;
    assert!(call.redelivered(), "it was delivered before");
    assert_eq!(
        call.attempt(),
        1,
        "the attempt that was cut off does not count"
    );
    next.shutdown().await?;
    Ok(())
}

/// Stopping twice, or twice at once, or with nothing running, is fine and gives the
/// same outcome.
async fn stopping_twice_is_fine(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = Endpoint::new(broker.name("stopping")).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    bus.publish(&Ordered { number: 1 }).await?;
    seen.next().await;
    let clone = bus.clone();
    let (first, second) = tokio::join!(bus.shutdown(), clone.shutdown());
    first?;
    second?;
    within("the third stop", bus.shutdown()).await?;
    Ok(())
}

/// A bus that is dropped without a stop gives back what it was handling.
async fn a_dropped_bus_gives_its_messages_back(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("dropped");
    let gate = Gate::closed();
    let stuck = with(gate.clone(), |gate, _: ConsumeContext<Place>| async move {
        gate.pass().await;
        Ok(())
    });
    let endpoint = serial(&queue).consumer(stuck);
    let bus: Bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..3).await?;
    gate.holds(1).await;
    drop(bus);
    broker.until_depth(&queue, 3).await;
    assert_eq!(gate.waiting(), 0, "its future is gone");
    let seen = Recorder::<Place>::new();
    let next = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    assert_eq!(numbers(&seen.take(3).await), [0, 1, 2]);
    next.shutdown().await?;
    Ok(())
}

/// Unwanted and failing messages in the queue do not hold up the stop.
async fn unwanted_and_failing_messages_do_not_hold_up_the_stop(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("messy");
    let seen = Recorder::<Place>::failing();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    for number in 0..20 {
        bus.send_to(format!("queue:{queue}"), &Cancelled { number })
            .await?;
        place(&bus, &queue, number).await?;
    }
    seen.next().await;
    within("the stop", bus.shutdown()).await?;
    let mut total = 0;
    for queue in [
        queue.clone(),
        format!("{queue}_error"),
        format!("{queue}_skipped"),
    ] {
        total += broker.depth(&queue).await.unwrap_or(0);
    }
    assert_eq!(total, 40, "each message is in one place");
    Ok(())
}

/// A message that arrives while a process stops is handled once, by the next.
async fn what_arrives_during_the_stop_waits_for_the_next_process(
    broker: &dyn TestBroker,
) -> Outcome {
    let queue = broker.name("relay");
    let sender = broker.bus().start().await?;
    let seen = Recorder::<Place>::new();
    let endpoint = || serial(&queue).consumer(seen.clone());
    let first = broker.start(endpoint()).await?;
    let address = format!("queue:{queue}");
    let sends = (0..50).map(|number| {
        sender
            .send_to(address.as_str(), &Place { number })
            .into_future()
    });
    let (stopped, sent) = tokio::join!(first.shutdown(), futures_util::future::join_all(sends));
    stopped?;
    for outcome in sent {
        outcome?;
    }
    let second = broker.start(endpoint()).await?;
    assert_eq!(numbers(&seen.take(50).await), (0..50).collect::<Vec<_>>());
    second.shutdown().await?;
    assert_eq!(seen.calls(), 50);
    sender.shutdown().await?;
    Ok(())
}

/// A paused endpoint does not hold up the stop, and does not start again after it.
async fn a_paused_endpoint_stays_stopped(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("paused");
    let seen = Recorder::<Place>::new();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    endpoint.pause().await;
    place(&bus, &queue, 1).await?;
    within("the stop", bus.shutdown()).await?;
    let error = endpoint.resume().await.expect_err("the bus is stopped");
    assert_eq!(error.kind(), TransportErrorKind::Closed);
    assert!(!endpoint.is_running());
    assert_eq!(broker.depth(&queue).await, Some(1));
    assert_eq!(seen.calls(), 0);
    Ok(())
}

/// A process may stop as soon as it has started, again and again.
async fn a_bus_may_stop_as_soon_as_it_has_started(broker: &dyn TestBroker) -> Outcome {
    let lives = (0..40).map(|_| async {
        let endpoint = Endpoint::new(broker.name("brief")).consumer(Recorder::<Ordered>::new());
        let bus = broker
            .bus()
            .stop_timeout(Duration::from_secs(60))
            .endpoint(endpoint);
        let bus = bus.start().await?;
        bus.shutdown().await?;
        Outcome::Ok(())
    });
    for outcome in futures_util::future::join_all(lives).await {
        outcome?;
    }
    Ok(())
}

behaviours! { shutdown:
    what_runs_finishes_and_the_rest_goes_back,
    a_running_consumer_may_still_answer,
    a_running_consumer_may_still_ask,
    after_the_stop_timeout_consumers_are_cancelled,
    a_consumer_that_ignores_cancellation_is_dropped,
    stopping_twice_is_fine,
    a_dropped_bus_gives_its_messages_back,
    unwanted_and_failing_messages_do_not_hold_up_the_stop,
    what_arrives_during_the_stop_waits_for_the_next_process,
    a_paused_endpoint_stays_stopped,
    a_bus_may_stop_as_soon_as_it_has_started,
}
