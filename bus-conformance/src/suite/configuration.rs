//! Settings that contradict each other, or the broker, are reported at the start.

use std::time::Duration;

use bus_core::error::SendErrorKind;
use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::topology::PublishTopology;
use bus_core::topology::{Exchange, ExchangeKind, Overflow, Queue, Topology};
use bus_core::transport::{StreamOffset, TransportErrorKind};
use bus_core::{Bus, BusBuilder, Endpoint, Idempotency, Policy, Retry, StartError};

use crate::support::contracts::{Cancelled, Ordered, Place};
use crate::support::{Outcome, Recorder};
use crate::test_broker::TestBroker;

/// Endpoints with a mistake each, `good` twice.
fn mistaken(good: &str) -> Vec<Endpoint> {
    let place = |name: &str| Endpoint::new(name).consumer(Recorder::<Place>::new());
    let store = MemoryIdempotencyStore::new;
    let forgetful = Idempotency::new(store())
        .lease(Duration::ZERO)
        .keep(Duration::ZERO);
    vec![
        place(good),
        place(good),
        Endpoint::new("empty"),
        place("with space"),
        place("amq.mine"),
        place(&"x".repeat(250)),
        place("double").consumer(Recorder::<Place>::new()),
        place("lazy").concurrency(0),
        place("greedy").policy(Policy::new().prefetch(0)),
        place("hasty").policy(Policy::new().timeout(Duration::ZERO)),
        place("torn").at_most_once().retry(Retry::immediate(1)),
        place("torn-too").at_most_once().idempotency(store()),
        place("forgetful").idempotency(forgetful),
        place("narcissus").tap("narcissus"),
        place("stray").subscribe::<Cancelled>("key"),
        Endpoint::on(Queue::quorum("mixed").max_priority(3)).consumer(Recorder::<Place>::new()),
    ]
}

/// Expects that a bus does not start, for these reasons and no other.
fn expect_mistakes(started: &Result<Bus, StartError>, expected: &[(&str, &str)]) {
    let Err(error @ StartError::Configuration(mistakes)) = started else {
        panic!("the bus must not start: {started:?}");
    };
    let mistakes: Vec<_> = mistakes.iter().collect();
    for (subject, reason) in expected {
        let is_named = |mistake: &&&str| mistake.contains(subject) && mistake.contains(reason);
        let named = mistakes.iter().find(is_named);
        assert!(
            named.is_some(),
            "{subject}: {reason} is not in {mistakes:#?}"
        );
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    let text = error.to_string();
    assert!(
        mistakes.iter().all(|mistake| text.contains(mistake)),
        "{text}"
    );
}

/// All mistakes are reported together, each with its place; nothing is declared.
async fn all_mistakes_are_reported_before_anything_is_declared(broker: &dyn TestBroker) -> Outcome {
    let good = broker.name("good");
    let bus = broker
        .bus()
        .deadline(Duration::ZERO)
        .route::<Place>("no address");
    let bus = mistaken(&good).into_iter().fold(bus, BusBuilder::endpoint);
    let expected = [
        ("deadline", "zero"),
        ("Conformance:Place", "no scheme"),
        (good.as_str(), "there twice"),
        ("`empty`", "no consumer"),
        ("`with space`", "letters, digits"),
        ("`amq.mine`", "belong to the broker"),
        (&"x".repeat(250), "too long"),
        ("`double`", "urn:message:Conformance:Place"),
        ("`lazy`", "concurrency is 0"),
        ("`greedy`", "prefetch is 0"),
        ("`hasty`", "timeout is zero"),
        ("`torn`", "at_most_once"),
        ("`torn-too`", "at_most_once"),
        ("`forgetful`", "the lease"),
        ("`forgetful`", "handled messages"),
        ("`narcissus`", "taps itself"),
        ("`stray`", "no consumer of"),
        ("`mixed`", "max_priority"),
    ];
    expect_mistakes(&bus.start().await, &expected);
    assert_eq!(broker.depth(&good).await, None, "nothing was declared");
    Ok(())
}

/// Starts an endpoint whose queue or exchange exists with other settings.
async fn mismatch(
    broker: &dyn TestBroker,
    there: Topology,
    endpoint: Endpoint,
    words: &[&str],
) -> Outcome {
    let wire = broker.wire().await;
    wire.declare(&there).await;
    let started = broker.start(endpoint).await;
    let Err(StartError::Endpoint {
        endpoint: name,
        source,
    }) = started
    else {
        panic!("the endpoint must not start: {started:?}");
    };
    assert_eq!(name, broker.name("there"));
    assert_eq!(source.kind(), TransportErrorKind::Mismatch, "{source}");
    let text = source.to_string();
    for word in words.iter().copied().chain([name.as_str()]) {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    wire.close().await;
    Ok(())
}

fn queue_there(broker: &dyn TestBroker, set: impl FnOnce(&mut Queue)) -> Topology {
    let mut queue = Queue::classic(broker.name("there"));
    set(&mut queue);
    Topology {
        queues: vec![queue],
        ..Topology::default()
    }
}

/// A queue that exists with another priority range names queue, argument and both
/// values.
async fn a_queue_with_another_argument_is_named(broker: &dyn TestBroker) -> Outcome {
    let there = queue_there(broker, |queue| queue.max_priority = Some(5));
    let queue = Queue::classic(broker.name("there")).max_priority(7);
    let endpoint = Endpoint::on(queue).consumer(Recorder::<Place>::new());
    mismatch(broker, there, endpoint, &["x-max-priority", "5", "7"]).await
}

/// A queue that exists without an argument that we want names the argument.
async fn a_queue_without_our_argument_is_named(broker: &dyn TestBroker) -> Outcome {
    let there = queue_there(broker, |_| {});
    let queue = Queue::classic(broker.name("there"))
        .max_length(10, Overflow::RejectPublish)
        .message_ttl(Duration::from_secs(7));
    let endpoint = Endpoint::on(queue).consumer(Recorder::<Place>::new());
    mismatch(broker, there, endpoint, &["x-m"]).await
}

/// An exchange that exists with another kind names exchange and both kinds.
async fn an_exchange_of_another_kind_is_named(broker: &dyn TestBroker) -> Outcome {
    let exchange = Exchange::new(broker.name("there"), ExchangeKind::Topic);
    let there = Topology {
        exchanges: vec![exchange],
        ..Topology::default()
    };
    let endpoint = Endpoint::new(broker.name("there")).consumer(Recorder::<Place>::new());
    mismatch(broker, there, endpoint, &["topic", "fanout"]).await
}

/// Publishers and subscribers that disagree about an exchange: the publisher gets a
/// typed error, others go on.
async fn a_publisher_with_another_exchange_kind_is_refused(broker: &dyn TestBroker) -> Outcome {
    let entity = broker.name("disputed");
    let seen = Recorder::<Ordered>::new();
    let subscriber = broker
        .bus()
        .publish_topology(PublishTopology::<Ordered>::fanout().entity_name(entity.clone()))
        .endpoint(Endpoint::new(broker.name("subscriber")).consumer(seen.clone()))
        .start()
        .await?;
    let publisher = broker
        .bus()
        .publish_topology(PublishTopology::<Ordered>::topic().entity_name(entity.clone()))
        .start()
        .await?;
    for _ in 0..2 {
        let refused = publisher.publish(&Ordered { number: 1 }).await;
        let error = refused.expect_err("the exchange is of another kind");
        assert_eq!(error.kind(), SendErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(&entity), "{error}");
    }
    publisher.publish(&Cancelled { number: 2 }).await?;
    subscriber.publish(&Ordered { number: 3 }).await?;
    assert_eq!(seen.next().await.message().number, 3);
    publisher.shutdown().await?;
    subscriber.shutdown().await?;
    Ok(())
}

/// A bus that could not start leaves the broker as a later one needs it.
async fn a_failed_start_does_not_stand_in_the_way_of_the_next(broker: &dyn TestBroker) -> Outcome {
    let wire = broker.wire().await;
    wire.declare(&queue_there(broker, |queue| queue.max_priority = Some(5)))
        .await;
    let seen = Recorder::<Place>::new();
    let good = || {
        Endpoint::new(broker.name("good"))
            .exclusive()
            .consumer(seen.clone())
    };
    let bad = Endpoint::new(broker.name("there")).consumer(Recorder::<Place>::new());
    let failed = broker.bus().endpoint(good()).endpoint(bad).start().await;
    assert!(
        matches!(failed, Err(StartError::Endpoint { .. })),
        "{failed:?}"
    );
    let bus = broker.start(good()).await?;
    bus.send_to(
        format!("queue:{}", broker.name("good")),
        &Place { number: 1 },
    )
    .await?;
    seen.next().await;
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Settings that contradict themselves are mistakes, reported together.
async fn settings_that_contradict_themselves_are_mistakes(broker: &dyn TestBroker) -> Outcome {
    let place = |name: &str| Endpoint::new(name).consumer(Recorder::<Place>::new());
    let (long, short) = (Duration::from_secs(5), Duration::from_secs(1));
    let started = broker
        .bus()
        .route::<Place>("queue:one")
        .route::<Place>("queue:other")
        .route::<Cancelled>("queue:with blank")
        .route::<Ordered>("queue:same")
        .route::<Ordered>("queue:same")
        .endpoint(
            place("narrow")
                .concurrency(50)
                .policy(Policy::new().prefetch(5)),
        )
        .endpoint(place("backwards").retry(Retry::exponential(3, long, short)))
        .endpoint(place("empty").retry(Retry::intervals([])))
        .endpoint(place("never").policy(Policy::new().max_deliveries(0)))
        .endpoint(place("dry").stream_offset(StreamOffset::First))
        .start()
        .await;
    let expected = [
        ("Conformance:Place", "routed twice"),
        ("Conformance:Cancelled", "letters, digits"),
        ("`narrow`", "prefetch is 5"),
        ("`backwards`", "longer than its cap"),
        ("`empty`", "no intervals"),
        ("`never`", "max_deliveries is 0"),
        ("`dry`", "no stream"),
    ];
    expect_mistakes(&started, &expected);
    Ok(())
}

behaviours! { configuration:
    all_mistakes_are_reported_before_anything_is_declared needs QuorumQueues & Priorities,
    a_queue_with_another_argument_is_named needs Priorities,
    a_queue_without_our_argument_is_named needs QueueLimits & MessageTtl,
    an_exchange_of_another_kind_is_named needs RoutingKeys,
    a_publisher_with_another_exchange_kind_is_refused needs RoutingKeys,
    a_failed_start_does_not_stand_in_the_way_of_the_next needs ExclusiveConsumers & Priorities,
    settings_that_contradict_themselves_are_mistakes,
}
