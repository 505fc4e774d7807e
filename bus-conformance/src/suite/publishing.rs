//! Publish and subscribe: who gets which events.

use std::collections::BTreeMap;

use bus_core::error::SendErrorKind;
use bus_core::message::HeaderValue;
use bus_core::send::SendContext;
use bus_core::{Endpoint, SendError};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::support::contracts::{Cancelled, LAST, Ordered, Place};
use crate::support::fixture::{in_order, place, serial};
use crate::support::{Outcome, Recorder, numbers};
use crate::test_broker::TestBroker;

/// Each endpoint that subscribed handles an event once, with its headers.
async fn every_subscribed_endpoint_gets_its_own_copy(broker: &dyn TestBroker) -> Outcome {
    let (first, second) = (Recorder::<Ordered>::new(), Recorder::<Ordered>::new());
    let endpoint =
        |name: &str, seen: &Recorder<Ordered>| serial(broker.name(name)).consumer(seen.clone());
    let bus = broker
        .bus()
        .endpoint(endpoint("first", &first))
        .endpoint(endpoint("second", &second))
        .start()
        .await?;
    let event = Ordered { number: 7 };
    bus.publish(&event).header("Tenant", "north").await?;
    bus.publish(&Ordered { number: LAST }).await?;
    for seen in [first, second] {
        let calls = seen.until_last().await;
        assert_eq!(numbers(&calls), [7]);
        assert_eq!(calls[0].headers().text("Tenant"), Some("north"));
    }
    bus.shutdown().await?;
    Ok(())
}

/// A queue keeps what is published before its consumer runs, each message with its
/// own id, body and header.
async fn a_queue_keeps_events_until_its_consumer_starts(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = || Endpoint::new(broker.name("late")).consumer(seen.clone());
    broker.bus().endpoint(endpoint()).deploy_topology().await?;
    let publisher = broker.bus().start().await?;
    let sent: BTreeMap<Uuid, u32> = (0..100).map(|number| (Uuid::now_v7(), number)).collect();
    let publishing = sent.iter().map(|(id, number)| {
        let event = Ordered { number: *number };
        publisher
            .publish(&event)
            .message_id(*id)
            .header("Copy", *number)
            .into_future()
    });
    for outcome in join_all(publishing).await {
        outcome?;
    }
    assert_eq!(seen.calls(), 0, "nothing may be consumed yet");
    let consumer = broker.start(endpoint()).await?;
    let received: BTreeMap<Uuid, u32> = seen
        .take(sent.len())
        .await
        .iter()
        .map(|call| {
            let number = call.message().number;
            assert_eq!(
                call.header("Copy").and_then(HeaderValue::as_i64),
                Some(number.into())
            );
            (call.message_id().expect("a message id"), number)
        })
        .collect();
    assert_eq!(received, sent);
    consumer.shutdown().await?;
    publisher.shutdown().await?;
    Ok(())
}

/// A consumer gets its own type only.
async fn types_do_not_mix(broker: &dyn TestBroker) -> Outcome {
    let (ordered, cancelled) = (Recorder::<Ordered>::new(), Recorder::<Cancelled>::new());
    let bus = broker
        .bus()
        .endpoint(serial(broker.name("ordered")).consumer(ordered.clone()))
        .endpoint(serial(broker.name("cancelled")).consumer(cancelled.clone()))
        .start()
        .await?;
    for number in [1, LAST] {
        bus.publish(&Ordered { number }).await?;
    }
    for number in [2, LAST] {
        bus.publish(&Cancelled { number }).await?;
    }
    assert_eq!(numbers(&ordered.until_last().await), [1]);
    assert_eq!(numbers(&cancelled.until_last().await), [2]);
    bus.shutdown().await?;
    Ok(())
}

/// An event without subscribers is published without an error.
async fn an_event_without_subscribers_is_no_error(broker: &dyn TestBroker) -> Outcome {
    let bus = broker.bus().start().await?;
    bus.publish(&Ordered { number: 1 }).await?;
    bus.shutdown().await?;
    Ok(())
}

/// An endpoint without a subscription consumes what is sent to it, not what is
/// published.
async fn without_subscription_only_what_is_sent_arrives(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let queue = broker.name("unsubscribed");
    let endpoint = serial(&queue)
        .without_subscription::<Ordered>()
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    bus.publish(&Ordered { number: 1 }).await?;
    let address = format!("queue:{queue}");
    bus.send_to(address.as_str(), &Ordered { number: 2 })
        .await?;
    bus.send_to(address.as_str(), &Ordered { number: LAST })
        .await?;
    assert_eq!(numbers(&seen.until_last().await), [2]);
    bus.shutdown().await?;
    Ok(())
}

/// A bus without endpoints publishes and sends to others.
async fn a_bus_without_endpoints_publishes_and_sends(broker: &dyn TestBroker) -> Outcome {
    let (ordered, placed) = (Recorder::<Ordered>::new(), Recorder::<Place>::new());
    let queue = broker.name("orders");
    let endpoint = Endpoint::new(&queue)
        .consumer(ordered.clone())
        .consumer(placed.clone());
    let consumer = broker.start(endpoint).await?;
    let publisher = broker.bus().start().await?;
    publisher.publish(&Ordered { number: 1 }).await?;
    place(&publisher, &queue, 2).await?;
    assert_eq!(ordered.next().await.message().number, 1);
    assert_eq!(placed.next().await.message().number, 2);
    publisher.shutdown().await?;
    consumer.shutdown().await?;
    Ok(())
}

/// Deploying declares what `start` would, error and skipped queue included, and
/// consumes nothing.
async fn deploying_declares_and_consumes_nothing(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let queue = broker.name("deployed");
    let endpoint = Endpoint::new(&queue).consumer(seen.clone());
    broker.bus().endpoint(endpoint).deploy_topology().await?;
    let bus = broker.bus().start().await?;
    bus.publish(&Ordered { number: 1 }).await?;
    assert_eq!(broker.depth(&queue).await, Some(1));
    assert_eq!(broker.depth(&format!("{queue}_error")).await, Some(0));
    assert_eq!(broker.depth(&format!("{queue}_skipped")).await, Some(0));
    assert_eq!(seen.calls(), 0);
    bus.shutdown().await?;
    Ok(())
}

/// More events than a task may send before the runtime interrupts it.
const MANY: u32 = 500;

/// Publishing many events gives the outcome of each, in order, and all of them
/// arrive, in order too.
async fn many_events_are_published_at_once(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Ordered>::new();
    let endpoint = serial(broker.name("many")).consumer(seen.clone());
    let bus = broker
        .bus()
        .endpoint(endpoint)
        .on_send(|context: &mut SendContext| {
            if context.envelope.message.as_ref() == br#"{"number":13}"# {
                let kind = SendErrorKind::Refused;
                return Err(SendError::new(kind, "unlucky"));
            }
            Ok(())
        })
        .start()
        .await?;
    let events: Vec<_> = (0..MANY).map(|number| Ordered { number }).collect();
    let outcomes = bus.publish_all(&events).await;
    let refused: Vec<_> = (0..MANY)
        .filter(|&number| outcomes[number as usize].is_err())
        .collect();
    assert_eq!(refused, [13]);
    let expected: Vec<_> = (0..MANY).filter(|number| *number != 13).collect();
    assert_eq!(in_order(&seen.take(MANY as usize - 1).await), expected);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { publishing:
    every_subscribed_endpoint_gets_its_own_copy,
    a_queue_keeps_events_until_its_consumer_starts,
    types_do_not_mix,
    an_event_without_subscribers_is_no_error,
    without_subscription_only_what_is_sent_arrives,
    a_bus_without_endpoints_publishes_and_sends,
    deploying_declares_and_consumes_nothing,
    many_events_are_published_at_once,
}
