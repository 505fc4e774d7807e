//! Messages that no consumer of an endpoint wants.

use bus_core::{Endpoint, Policy, RawMessage};
use serde_json::json;

use crate::support::contracts::{Cancelled, LAST, Place};
use crate::support::fixture::{place, serial};
use crate::support::{Outcome, Recorder, envelope, numbers};
use crate::test_broker::TestBroker;

/// A message that no consumer wants lies in the skipped queue as it came.
async fn an_unwanted_message_is_skipped(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("picky");
    let seen = Recorder::<Place>::new();
    let bus = broker.start(serial(&queue).consumer(seen.clone())).await?;
    let wire = broker.wire().await;
    let skipped = wire.read(&format!("{queue}_skipped")).await;
    let mut unwanted = envelope::<Cancelled>(&queue, &json!({ "number": 1 }));
    unwanted.headers.insert("Tenant", "north");
    let body = unwanted.body.clone();
    wire.send(unwanted).await;
    wire.send(envelope::<Place>(&queue, &json!({ "number": LAST })))
        .await;
    assert_eq!(seen.until_last().await.len(), 0);
    let kept = skipped.next().await;
    assert_eq!(kept.body, body);
    assert_eq!(kept.headers.text("MT-Reason"), Some("dead-letter"));
    assert_eq!(kept.headers.text("Tenant"), Some("north"));
    assert!(!kept.headers.contains("MT-Fault-Message"));
    bus.shutdown().await?;
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    wire.close().await;
    Ok(())
}

/// Hundreds of unwanted messages in a row neither stop the endpoint nor hold up its
/// shutdown.
async fn many_unwanted_messages_do_not_stop_the_endpoint(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("picky");
    let seen = Recorder::<Place>::new();
    let bus = broker
        .start(Endpoint::new(&queue).consumer(seen.clone()))
        .await?;
    let address = format!("queue:{queue}");
    let unwanted = (0..300).map(|number| {
        bus.send_to(address.as_str(), &Cancelled { number })
            .into_future()
    });
    for outcome in futures_util::future::join_all(unwanted).await {
        outcome?;
    }
    bus.send_to(address.as_str(), &Place { number: 1 }).await?;
    assert_eq!(numbers(&seen.take(1).await), [1]);
    broker.until_depth(&format!("{queue}_skipped"), 300).await;
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    Ok(())
}

/// A bus may drop what no consumer wants.
async fn unwanted_messages_may_be_discarded(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("careless");
    let seen = Recorder::<Place>::new();
    let bus = broker.bus().policy(Policy::new().discard_skipped());
    let bus = bus.endpoint(serial(&queue).consumer(seen.clone()));
    let bus = bus.start().await?;
    bus.send_to(format!("queue:{queue}"), &Cancelled { number: 1 })
        .await?;
    place(&bus, &queue, LAST).await?;
    assert_eq!(seen.until_last().await.len(), 0);
    bus.shutdown().await?;
    assert_eq!(broker.depth(&queue).await, Some(0));
    assert_eq!(
        broker.depth(&format!("{queue}_skipped")).await.unwrap_or(0),
        0
    );
    Ok(())
}

/// A consumer of everything gets what no typed consumer wants, of any type.
async fn a_consumer_of_everything_gets_the_rest(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("greedy");
    let (placed, rest) = (Recorder::<Place>::new(), Recorder::<RawMessage>::new());
    let endpoint = Endpoint::new(&queue)
        .consumer(placed.clone())
        .consume_any(rest.clone());
    let bus = broker.start(endpoint).await?;
    bus.send_to(format!("queue:{queue}"), &Cancelled { number: 1 })
        .await?;
    place(&bus, &queue, 2).await?;
    assert_eq!(placed.next().await.message().number, 2);
    let other = rest.next().await;
    assert_eq!(other.message().decode::<Cancelled>()?.number, 1);
    assert!(
        other
            .envelope()
            .is_of_type("urn:message:Conformance:Cancelled")
    );
    bus.shutdown().await?;
    assert_eq!((placed.calls(), rest.calls()), (1, 1));
    Ok(())
}

behaviours! { skipping:
    an_unwanted_message_is_skipped,
    many_unwanted_messages_do_not_stop_the_endpoint,
    unwanted_messages_may_be_discarded,
    a_consumer_of_everything_gets_the_rest,
}
