//! Several processes: who competes for messages, and who gets a copy.

use bus_core::topology::Queue;
use bus_core::{Bus, ConsumeContext, Endpoint, Policy, StartError};
use futures_util::future::join_all;

use crate::support::contracts::{LAST, Ordered, Place};
use crate::support::fixture::{place, places, serial};
use crate::support::{Gate, Outcome, Recorder, eventually, numbers, with};
use crate::test_broker::TestBroker;

/// A process of its own with one endpoint.
async fn instance(broker: &dyn TestBroker, endpoint: Endpoint) -> Outcome<Bus> {
    Ok(broker.start(endpoint).await?)
}

async fn stop(buses: impl IntoIterator<Item = Bus>) -> Outcome {
    for bus in buses {
        bus.shutdown().await?;
    }
    Ok(())
}

/// Of two services with two instances each, one instance of each service handles an
/// event.
async fn instances_of_a_service_share_its_events(broker: &dyn TestBroker) -> Outcome {
    let (first, second) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let mut buses = Vec::new();
    for (name, seen) in [
        ("first", &first),
        ("first", &first),
        ("second", &second),
        ("second", &second),
    ] {
        let endpoint = serial(broker.name(name)).consumer(seen.clone());
        buses.push(instance(broker, endpoint).await?);
    }
    for number in 0..20 {
        buses[0].publish(&Ordered { number }).await?;
    }
    let expected: Vec<_> = (0..20).collect();
    assert_eq!(numbers(&first.take(20).await), expected);
    assert_eq!(numbers(&second.take(20).await), expected);
    stop(buses).await?;
    assert_eq!(
        (first.calls(), second.calls()),
        (20, 20),
        "no message was handled twice"
    );
    Ok(())
}

/// Instances that compete both get work when one alone is busy.
async fn a_busy_instance_leaves_work_to_the_other(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let endpoint = || {
        serial(broker.name("shared"))
            .policy(Policy::new().prefetch(1))
            .consumer(with(
                gate.clone(),
                |gate, _: ConsumeContext<Place>| async move {
                    gate.pass().await;
                    Ok(())
                },
            ))
    };
    let buses = [
        instance(broker, endpoint()).await?,
        instance(broker, endpoint()).await?,
    ];
    for number in 0..4 {
        buses[0]
            .send_to(
                format!("queue:{}", broker.name("shared")),
                &Place { number },
            )
            .await?;
    }
    gate.holds(2).await;
    assert_eq!(broker.depth(&broker.name("shared")).await, Some(2));
    gate.open();
    stop(buses).await?;
    Ok(())
}

/// Many instances and many publishers: everything is handled, and nothing twice.
async fn many_instances_handle_everything_once(broker: &dyn TestBroker) -> Outcome {
    const COUNT: u32 = 400;
    let seen = Recorder::<Ordered>::new();
    let start = || {
        let endpoint = Endpoint::new(broker.name("crowd"))
            .concurrency(4)
            .consumer(seen.clone());
        instance(broker, endpoint)
    };
    let mut buses = Vec::new();
    for started in join_all((0..5).map(|_| start())).await {
        buses.push(started?);
    }
    let publishing = (0..COUNT).map(|number| {
        let publisher = &buses[number as usize % buses.len()];
        publisher.publish(&Ordered { number }).into_future()
    });
    for outcome in join_all(publishing).await {
        outcome?;
    }
    let calls = seen.take(COUNT as usize).await;
    assert_eq!(numbers(&calls), (0..COUNT).collect::<Vec<_>>());
    stop(buses).await?;
    assert_eq!(seen.calls(), COUNT as usize);
    Ok(())
}

/// Endpoints of one process alone each get their own copy, and their queue goes
/// away with the process.
async fn a_per_instance_endpoint_lives_with_its_process(broker: &dyn TestBroker) -> Outcome {
    let (stays, leaves) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let endpoint = |seen: &Recorder<Ordered>| {
        Endpoint::per_instance(&broker.name("cache"))
            .concurrency(1)
            .consumer(seen.clone())
    };
    let staying = instance(broker, endpoint(&stays)).await?;
    let leaving = instance(broker, endpoint(&leaves)).await?;
    staying.publish(&Ordered { number: 1 }).await?;
    assert_eq!(leaves.next().await.message().number, 1);
    let own = stays.next().await;
    assert_eq!(own.message().number, 1);
    let [gone] = leaving
        .health()
        .endpoints
        .try_into()
        .map_err(|_| "one endpoint")?;
    let gone = gone.name;
    assert_ne!(own.endpoint(), gone);
    assert_eq!(broker.depth(own.endpoint()).await.unwrap_or(0), 0);
    leaving.shutdown().await?;
    eventually("its queue is gone", || async {
        broker.depth(&gone).await.is_none()
    })
    .await;
    staying.publish(&Ordered { number: 2 }).await?;
    assert_eq!(stays.next().await.message().number, 2);
    assert_eq!(leaves.calls(), 1);
    stop([staying]).await
}

/// An endpoint that is stuck does not hold up another one that hears the same
/// events.
async fn a_stuck_endpoint_does_not_hold_up_others(broker: &dyn TestBroker) -> Outcome {
    let gate = Gate::closed();
    let seen = Recorder::<Ordered>::new();
    let stuck = serial(broker.name("stuck")).consumer(with(
        gate.clone(),
        |gate, _: ConsumeContext<Ordered>| async move {
            gate.pass().await;
            Ok(())
        },
    ));
    let free = serial(broker.name("free")).consumer(seen.clone());
    let bus = broker.bus().endpoint(stuck).endpoint(free).start().await?;
    for number in 0..50 {
        bus.publish(&Ordered { number }).await?;
    }
    seen.take(50).await;
    assert_eq!(
        gate.waiting(),
        1,
        "the stuck one still stands at its first event"
    );
    gate.open();
    bus.shutdown().await?;
    Ok(())
}

/// A process that stops hears no more; the others go on.
async fn a_stopped_process_hears_no_more(broker: &dyn TestBroker) -> Outcome {
    let (stays, leaves) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let endpoint =
        |name: &str, seen: &Recorder<Ordered>| serial(broker.name(name)).consumer(seen.clone());
    let staying = instance(broker, endpoint("stays", &stays)).await?;
    let leaving = instance(broker, endpoint("leaves", &leaves)).await?;
    staying.publish(&Ordered { number: 1 }).await?;
    leaves.next().await;
    leaving.shutdown().await?;
    for number in [2, 3, LAST] {
        staying.publish(&Ordered { number }).await?;
    }
    assert_eq!(numbers(&stays.until_last().await), [1, 2, 3]);
    assert_eq!(leaves.calls(), 1);
    assert_eq!(
        broker.depth(&broker.name("leaves")).await,
        Some(3),
        "they wait for its return"
    );
    stop([staying]).await
}

/// An endpoint that wants its queue for itself refuses a second one, which says
/// which queue.
async fn an_exclusive_endpoint_shares_with_none(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("alone");
    let seen = Recorder::<Place>::new();
    let endpoint = || Endpoint::new(&queue).exclusive().consumer(seen.clone());
    let first = instance(broker, endpoint()).await?;
    let second = broker.start(endpoint()).await;
    let Err(StartError::Endpoint {
        endpoint: name,
        source,
    }) = second
    else {
        panic!("the second one must not start: {second:?}");
    };
    assert_eq!(name, queue);
    assert!(source.to_string().contains(&queue), "{source}");
    place(&first, &queue, 1).await?;
    seen.next().await;
    first.shutdown().await?;
    let successor = instance(broker, endpoint()).await?;
    place(&successor, &queue, 2).await?;
    assert_eq!(seen.next().await.message().number, 2);
    stop([successor]).await
}

/// Of several instances with a single active one, the next takes over when that is
/// gone.
async fn a_standby_takes_over(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("leader");
    let (first, second) = (Recorder::<Place>::new(), Recorder::<Place>::new());
    let endpoint = |seen: &Recorder<Place>| {
        Endpoint::on(Queue::classic(&queue).single_active_consumer()).consumer(seen.clone())
    };
    let active = instance(broker, endpoint(&first)).await?;
    let standby = instance(broker, endpoint(&second)).await?;
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..10).await?;
    first.take(10).await;
    assert_eq!(second.calls(), 0);
    active.shutdown().await?;
    place(&sender, &queue, 10).await?;
    assert_eq!(second.next().await.message().number, 10);
    stop([standby, sender]).await
}

/// An instance of higher priority is served first.
async fn an_instance_of_higher_priority_is_served_first(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("preferred");
    let (low, high) = (Recorder::<Place>::new(), Recorder::<Place>::new());
    let endpoint = |seen: &Recorder<Place>, priority: i32| {
        Endpoint::new(&queue)
            .consumer_priority(priority)
            .consumer(seen.clone())
    };
    let buses = [
        instance(broker, endpoint(&low, 0)).await?,
        instance(broker, endpoint(&high, 10)).await?,
    ];
    for number in 0..10 {
        place(&buses[0], &queue, number).await?;
        high.next().await;
    }
    assert_eq!(low.calls(), 0);
    stop(buses).await
}

/// Subscribers that come and go all at once take nothing away with them.
async fn subscribers_that_come_and_go_lose_nothing(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = || Endpoint::new(broker.name("busy")).consumer(seen.clone());
    let visits = (0..8).map(|_| async {
        let bus = instance(broker, endpoint()).await?;
        stop([bus]).await
    });
    for outcome in join_all(visits).await {
        outcome?;
    }
    let bus = instance(broker, endpoint()).await?;
    for number in 0..50 {
        bus.publish(&Ordered { number }).await?;
    }
    assert_eq!(numbers(&seen.take(50).await), (0..50).collect::<Vec<_>>());
    stop([bus]).await
}

/// A consumer that stops in the middle of its queue, again and again, handles
/// everything in the end.
async fn a_queue_is_worked_off_over_several_lives(broker: &dyn TestBroker) -> Outcome {
    const COUNT: u32 = 50;
    let queue = broker.name("lives");
    let sender = broker.bus().start().await?;
    places(&sender, &queue, 0..COUNT).await?;
    let mut handled = Vec::new();
    let mut lives = 0;
    while broker.depth(&queue).await != Some(0) {
        let seen = Recorder::<Place>::new();
        let endpoint = Endpoint::new(&queue).concurrency(2).consumer(seen.clone());
        let bus = instance(broker, endpoint).await?;
        seen.next().await;
        stop([bus]).await?;
        handled.push(seen);
        lives += 1;
        assert!(lives <= COUNT, "a life handles at least one");
    }
    let total: usize = handled.iter().map(Recorder::calls).sum();
    assert_eq!(total, COUNT as usize, "none lost, none twice");
    stop([sender]).await
}

behaviours! { instances:
    instances_of_a_service_share_its_events,
    a_busy_instance_leaves_work_to_the_other,
    many_instances_handle_everything_once,
    a_per_instance_endpoint_lives_with_its_process,
    a_stuck_endpoint_does_not_hold_up_others,
    a_stopped_process_hears_no_more,
    an_exclusive_endpoint_shares_with_none needs ExclusiveConsumers,
    a_standby_takes_over needs SingleActiveConsumer,
    an_instance_of_higher_priority_is_served_first needs ConsumerPriorities,
    subscribers_that_come_and_go_lose_nothing,
    a_queue_is_worked_off_over_several_lives,
}
