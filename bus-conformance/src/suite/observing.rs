//! Observers of what is sent and received, and of states.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::message::Envelope;
use bus_core::observe::{Observer, PostReceive, PostSend};
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Policy, Retry};
use uuid::Uuid;

use crate::support::contracts::{LAST, Ordered, Place};
use crate::support::fixture::{place, places, serial};
use crate::support::{Diary, Gate, Outcome, Recorder, eventually, with};
use crate::test_broker::TestBroker;

/// Observers are called once for each message that was sent, handled or failed.
async fn observers_are_called_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("observed");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        1 => Ok(()),
        _ => Err("broken".into()),
    });
    let diary = Diary::default();
    let endpoint = serial(&queue)
        .retry(Retry::immediate(1))
        .policy(Policy::new().without_published_faults())
        .consumer(seen.clone());
    let bus = broker.bus().observe(diary.clone()).endpoint(endpoint);
    let bus = bus.start().await?;
    places(&bus, &queue, [1, 2]).await?;
    bus.publish(&Ordered { number: 3 }).await?;
    seen.take(3).await;
    bus.shutdown().await?;
    let (place, ordered) = (
        "Send urn:message:Conformance:Place",
        "Publish urn:message:Conformance:Ordered",
    );
    for topic in ["sending", "sent"] {
        let expected = [place, place, ordered].map(|what| format!("{topic} {what}"));
        assert_eq!(diary.of(topic), expected);
    }
    assert_eq!(diary.of("received").len(), 2);
    assert_eq!(
        diary.of("ended"),
        [
            "ended Some(1) handled after 1",
            "ended Some(2) faulted broken after 2"
        ]
    );
    assert!(diary.of("unsent").is_empty() && diary.of("fault").is_empty());
    Ok(())
}

/// A message that was refused is observed as such, and not as sent.
async fn a_refused_message_is_observed_as_refused(broker: &dyn TestBroker) -> Outcome {
    let diary = Diary::default();
    let bus = broker.bus().observe(diary.clone()).start().await?;
    let nowhere = broker.name("nowhere");
    let refused = bus
        .send_to(format!("exchange:{nowhere}"), &Place { number: 1 })
        .await;
    assert!(refused.is_err());
    bus.publish(&Ordered { number: 1 }).await?;
    assert_eq!(
        diary.of("sent"),
        ["sent Publish urn:message:Conformance:Ordered"]
    );
    assert_eq!(
        diary.of("unsent"),
        [format!("unsent Send to {nowhere}: Unroutable")]
    );
    bus.shutdown().await?;
    Ok(())
}

/// Each attempt is observed from its begin to its end, with its outcome.
async fn each_attempt_is_observed(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("observed");
    let diary = Diary::default();
    let consumer = async |ctx: ConsumeContext<Place>| -> ConsumeResult {
        match ctx.attempt() {
            1 => Err("broken".into()),
            2 => std::future::pending().await,
            _ => Ok(()),
        }
    };
    let endpoint = Endpoint::new(&queue)
        .retry(Retry::immediate(2))
        .policy(Policy::new().timeout(Duration::from_millis(200)))
        .without_subscriptions()
        .consumer(consumer);
    let bus = broker.bus().observe(diary.clone()).endpoint(endpoint);
    let bus = bus.start().await?;
    place(&bus, &queue, 1).await?;
    eventually("it is handled", || async { !diary.of("ended").is_empty() }).await;
    assert_eq!(
        diary.of("attempt"),
        [
            "attempt 1 of Some(1) begins",
            "attempt 1 of Some(1) ends: Failed",
            "attempt 2 of Some(1) begins",
            "attempt 2 of Some(1) ends: TimedOut",
            "attempt 3 of Some(1) begins",
            "attempt 3 of Some(1) succeeds"
        ]
    );
    assert_eq!(diary.of("ended"), ["ended Some(1) handled after 3"]);
    bus.shutdown().await?;
    Ok(())
}

/// A skipped delivery, a duplicate, and one that is cut off are observed as such.
async fn the_end_of_a_delivery_says_how(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("observed");
    let (diary, gate) = (Diary::default(), Gate::closed());
    let stuck = |gate: Gate, ctx: ConsumeContext<Place>| async move {
        if ctx.message().number == LAST {
            gate.pass().await;
        }
        ConsumeResult::Ok(())
    };
    let stuck = with(gate.clone(), stuck);
    let endpoint = serial(&queue)
        .idempotency(MemoryIdempotencyStore::new())
        .without_subscriptions()
        .consumer(stuck);
    let brief = broker.bus().stop_timeout(Duration::from_millis(200));
    let bus = brief.observe(diary.clone()).endpoint(endpoint);
    let bus = bus.start().await?;
    let (to, id) = (format!("queue:{queue}"), Uuid::now_v7());
    for _ in 0..2 {
        let place = Place { number: 1 };
        bus.send_to(to.as_str(), &place).message_id(id).await?;
    }
    bus.send_to(to.as_str(), &Ordered { number: 1 }).await?;
    bus.send_to(to.as_str(), &Place { number: LAST }).await?;
    gate.holds(1).await;
    bus.shutdown().await.expect_err("the consumer is cut off");
    assert_eq!(
        diary.of("ended"),
        [
            "ended Some(1) handled after 1",
            "ended Some(1) duplicate after 0",
            "ended None skipped after 0",
            "ended None requeued(none) after 1"
        ]
    );
    let cut_off = format!("attempt 1 of Some({LAST}) ends: Cancelled");
    assert_eq!(diary.of("attempt").last(), Some(&cut_off));
    Ok(())
}

/// The fault of a message that failed is observed, as a message and as a fault.
async fn a_published_fault_is_observed(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("observed");
    let diary = Diary::default();
    let endpoint = Endpoint::new(&queue).consumer(Recorder::<Place>::failing());
    let bus = broker.bus().observe(diary.clone()).endpoint(endpoint);
    let bus = bus.start().await?;
    place(&bus, &queue, 1).await?;
    eventually("it has failed", || async { !diary.of("ended").is_empty() }).await;
    let urn = "urn:message:MassTransit:Fault[[Conformance:Place]]";
    assert_eq!(
        diary.of("fault"),
        [format!("fault of {queue}: Failed as {urn}")]
    );
    assert_eq!(diary.of("sent Fault"), [format!("sent Fault {urn}")]);
    bus.shutdown().await?;
    Ok(())
}

/// Observers follow the connection, and an endpoint from its start to its stop.
async fn observers_follow_the_states(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("observed");
    let diary = Diary::default();
    // A transport without notifications has dropped their sender.
    let reports = broker.transport().health_changes().has_changed().is_ok();
    let endpoint = Endpoint::new(&queue).consumer(Recorder::<Place>::new());
    let bus = broker.bus().observe(diary.clone()).endpoint(endpoint);
    let bus = bus.start().await?;
    assert_eq!(diary.of("state"), ["state Starting to Running"]);
    let up = "connection is up: true".to_owned();
    eventually("the connection is reported", || async {
        diary.of("connection") == [up.clone()]
    })
    .await;
    let endpoint = bus.endpoint(&queue).ok_or("the endpoint is there")?;
    endpoint.pause().await;
    endpoint.resume().await?;
    bus.shutdown().await?;
    assert_eq!(
        diary.of("state"),
        [
            "state Starting to Running",
            "state Running to Pausing",
            "state Pausing to Paused",
            "state Paused to Starting",
            "state Starting to Running",
            "state Running to Stopped"
        ]
    );
    if !reports {
        return Ok(());
    }
    let down = Some("connection is up: false".to_owned());
    eventually("the end of the connection is reported", || async {
        diary.of("connection").last() == down.as_ref()
    })
    .await;
    Ok(())
}

/// A message id that an observer sees is the one that the consumer sees.
async fn observers_see_the_ids_that_travel(broker: &dyn TestBroker) -> Outcome {
    #[derive(Clone, Debug, Default)]
    struct Ids(Arc<Mutex<Vec<Option<Uuid>>>>);
    impl Ids {
        fn note(&self, envelope: &Envelope) {
            self.0.lock().expect("no panic").push(envelope.message_id);
        }
    }
    impl Observer for Ids {
        fn post_send(&self, sent: &PostSend<'_>) {
            self.note(sent.envelope);
        }
        fn post_receive(&self, received: &PostReceive<'_>) {
            self.note(received.envelope);
        }
    }
    let ids = Ids::default();
    let seen = Recorder::<Ordered>::new();
    let endpoint = Endpoint::new(broker.name("observed")).consumer(seen.clone());
    let bus = broker.bus().observe(ids.clone()).endpoint(endpoint);
    let bus = bus.start().await?;
    bus.publish(&Ordered { number: 1 }).await?;
    let id = seen.next().await.message_id();
    assert!(id.is_some());
    bus.shutdown().await?;
    assert_eq!(*ids.0.lock().expect("no panic"), [id, id]);
    Ok(())
}

behaviours! { observing:
    observers_are_called_once,
    each_attempt_is_observed,
    the_end_of_a_delivery_says_how,
    a_published_fault_is_observed,
    observers_follow_the_states,
    a_refused_message_is_observed_as_refused,
    observers_see_the_ids_that_travel,
}
