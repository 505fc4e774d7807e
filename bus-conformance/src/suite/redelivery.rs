//! Failed and deferred messages come again later, past others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus_core::error::FailureKind;
use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::message::HeaderValue;
use bus_core::observe::{Observer, PostReceive, ReceiveOutcome};
use bus_core::topology::{Overflow, Queue};
use bus_core::{
    ConsumeContext, ConsumeError, Endpoint, Fault, Policy, RawMessage, Retry, StartError,
};
use uuid::Uuid;

use crate::support::contracts::{Answered, Ask, LAST, Ordered, Place};
use crate::support::fixture::{Fixture, in_order, place, places, reason, serial};
use crate::support::{Outcome, Recorder, eventually, numbers, with};
use crate::test_broker::TestBroker;

/// Wait of a redelivery; some transports round it up to a second.
const SOON: Duration = Duration::from_millis(10);

/// A policy of one retry in place, and two redeliveries.
fn patient() -> Policy {
    Policy::new()
        .retry(Retry::immediate(1))
        .redelivery(Retry::interval(2, SOON))
}

/// Three instances make the attempts of a message that one would make.
async fn attempts_are_exact_among_several_instances(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("instances");
    let seen = Recorder::<Place>::failing();
    let mut buses = Vec::new();
    for _ in 0..3 {
        let endpoint = Endpoint::new(&queue).policy(patient());
        buses.push(broker.start(endpoint.consumer(seen.clone())).await?);
    }
    places(&buses[0], &queue, 0..5).await?;
    broker.until_depth(&format!("{queue}_error"), 5).await;
    for bus in buses {
        bus.shutdown().await?;
    }
    let calls = seen.take(30).await;
    for number in 0..5 {
        let of_one = calls.iter().filter(|call| call.message().number == number);
        assert_eq!(of_one.count(), 6, "{number}");
    }
    assert_eq!(seen.calls(), 30);
    Ok(())
}

/// The copy has the id, the headers and the route of the message, and the count.
async fn a_redelivered_message_is_the_same_but_for_its_count(broker: &dyn TestBroker) -> Outcome {
    let set = |endpoint: Endpoint| endpoint.policy(patient().retry(Retry::none()));
    let fixture = Fixture::<Place>::start(broker, Recorder::failing(), set).await?;
    let sending = fixture.bus.send_to(fixture.address(), &Place { number: 7 });
    sending.header("tenant", "north").priority(3).await?;
    let calls = fixture.seen.take(3).await;
    let counts: Vec<_> = calls.iter().map(ConsumeContext::redelivery_count).collect();
    assert_eq!(counts, [0, 1, 2]);
    let first = &calls[0];
    for call in &calls {
        assert_eq!(call.message().number, 7);
        assert_eq!(call.message_id(), first.message_id());
        assert_eq!(call.conversation_id(), first.conversation_id());
        assert_eq!(call.envelope().sent_time, first.envelope().sent_time);
        assert_eq!(call.header("tenant"), Some(&"north".into()));
        assert_eq!(call.incoming().routing_key, first.incoming().routing_key);
        assert_eq!(call.incoming().priority, first.incoming().priority);
        assert_eq!(call.incoming().durable, first.incoming().durable);
        assert_eq!(call.attempt(), 1);
    }
    let failed = fixture.errors.next().await;
    assert_eq!(failed.message_id, first.incoming().message_id);
    let count = failed.headers.get("MT-Fault-RedeliveryCount");
    assert_eq!(count.and_then(HeaderValue::as_i64), Some(2));
    fixture.stop().await
}

/// There is one fault, after the last attempt, and one message in the error queue.
async fn only_the_last_attempt_has_a_fault(broker: &dyn TestBroker) -> Outcome {
    let (queue, inbox) = (broker.name("faulty"), broker.name("faults"));
    let faults = Recorder::<Fault<Place>>::new();
    let seen = Recorder::<Place>::failing();
    let bus = broker
        .bus()
        .endpoint(
            Endpoint::new(&queue)
                .policy(patient())
                .consumer(seen.clone()),
        )
        .endpoint(
            Endpoint::new(&inbox)
                .without_subscriptions()
                .consumer(faults.clone()),
        )
        .start()
        .await?;
    bus.send_to(bus_core::queue(queue.clone()), &Place { number: 1 })
        .fault_address(format!("queue:{inbox}"))
        .await?;
    let fault = faults.next().await;
    assert_eq!(seen.calls(), 6, "the fault comes last");
    let count = fault.header("MT-Fault-RedeliveryCount");
    assert_eq!(count.and_then(HeaderValue::as_i64), Some(2));
    broker.until_depth(&format!("{queue}_error"), 1).await;
    bus.shutdown().await?;
    assert_eq!(faults.calls(), 1);
    Ok(())
}

#[derive(Debug, thiserror::Error)]
#[error("the partner is closed")]
struct PartnerClosed;

/// Each policy has a budget of its own; the first one for the error decides.
async fn errors_have_budgets_of_their_own(broker: &dyn TestBroker) -> Outcome {
    let policy = Policy::new()
        .redelivery(Retry::interval(2, SOON).only::<PartnerClosed>())
        .redelivery(Retry::interval(1, SOON));
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.redelivery_count() {
        1 => Err("another".into()),
        _ => Err(PartnerClosed.into()),
    });
    let fixture = Fixture::start(broker, seen, |endpoint| endpoint.policy(policy)).await?;
    fixture.send(&Place { number: 1 }).await?;
    let failed = fixture.errors.next().await;
    assert_eq!(reason(&failed), "the partner is closed");
    assert_eq!(
        fixture.seen.calls(),
        4,
        "two for the partner, one for another"
    );
    fixture.stop().await
}

/// Permanent errors and panics are final.
async fn what_cannot_pass_is_not_redelivered(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        1 => Err(ConsumeError::permanent("never")),
        _ => panic!("a bug"),
    });
    let set = |endpoint: Endpoint| endpoint.policy(patient());
    let fixture = Fixture::start(broker, seen, set).await?;
    for number in [1, 2] {
        fixture.send(&Place { number }).await?;
        fixture.errors.next().await;
    }
    assert_eq!(fixture.seen.calls(), 2);
    fixture.stop().await
}

/// A message that waits holds up none behind it, even at a concurrency of 1.
async fn a_message_that_waits_holds_no_slot(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("slot");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        1 if ctx.redelivery_count() == 0 => Err("broken".into()),
        _ => Ok(()),
    });
    let wait = Duration::from_secs(1);
    let policy = Policy::new().redelivery(Retry::interval(1, wait));
    let endpoint = serial(&queue).policy(policy).consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, [1, 2, 3]).await?;
    assert_eq!(in_order(&seen.take(4).await), [1, 2, 3, 1]);
    bus.shutdown().await?;
    Ok(())
}

/// A key is free again for the copy, and taken once it was handled.
async fn a_redelivered_message_is_no_duplicate(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("once");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.redelivery_count() {
        0 => Err("broken".into()),
        _ => Ok(()),
    });
    let endpoint = serial(&queue)
        .policy(patient().retry(Retry::none()))
        .idempotency(MemoryIdempotencyStore::new())
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    let id = Uuid::now_v7();
    let send = |number| {
        let sending = bus.send_to(bus_core::queue(queue.clone()), &Place { number });
        sending.message_id(id)
    };
    send(1).await?;
    assert_eq!(seen.take(2).await[1].redelivery_count(), 1);
    send(1).await?;
    broker.until_depth(&queue, 0).await;
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 2, "the second one is a duplicate");
    Ok(())
}

/// Messages of a failed attempt leave with none of the copies.
async fn a_failed_attempt_has_sent_nothing(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let ordered = Recorder::<Ordered>::new();
    let sender = with((), |(), ctx: ConsumeContext<Place>| async move {
        let number = ctx.redelivery_count();
        ctx.publish(&Ordered { number }).await?;
        match number {
            2 => Ok(ctx.publish(&Ordered { number: LAST }).await?),
            _ => Err("broken".into()),
        }
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).policy(patient()).consumer(sender))
        .endpoint(serial(broker.name("ordered")).consumer(ordered.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(numbers(&ordered.until_last().await), [2]);
    bus.shutdown().await?;
    Ok(())
}

/// A query whose consumer fails at first is answered by the copy.
async fn a_redelivered_query_is_answered(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("query");
    let answering = with((), |(), ctx: ConsumeContext<Ask>| async move {
        if ctx.redelivery_count() == 0 {
            return Err("broken".into());
        }
        let number = ctx.message().number;
        Ok(ctx.respond(&Answered { number }).await?)
    });
    let endpoint = Endpoint::new(&queue).policy(patient()).consumer(answering);
    let bus = broker.start(endpoint).await?;
    let answer = bus.request::<Answered>(&Ask { number: 7 }).await?;
    assert_eq!(answer.number, 7);
    bus.shutdown().await?;
    Ok(())
}

/// A tap overhears a message once, however often it is consumed.
async fn a_tap_gets_a_redelivered_message_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("tapped");
    let seen = Recorder::<Place>::failing();
    let overheard = Recorder::<RawMessage>::new();
    let tap = Endpoint::new(broker.name("tap")).tap(&queue);
    let bus = broker
        .bus()
        .endpoint(
            Endpoint::new(&queue)
                .policy(patient())
                .consumer(seen.clone()),
        )
        .endpoint(tap.consume_any(overheard.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    broker.until_depth(&format!("{queue}_error"), 1).await;
    bus.shutdown().await?;
    assert_eq!((seen.calls(), overheard.calls()), (6, 1));
    Ok(())
}

/// An endpoint of one instance gets its own copy again, and no other instance does.
async fn a_message_of_one_instance_comes_again_to_it(broker: &dyn TestBroker) -> Outcome {
    let mut instances = Vec::new();
    for _ in 0..2 {
        let seen = Recorder::<Ordered>::deciding(|ctx| match ctx.redelivery_count() {
            0 => Err("broken".into()),
            _ => Ok(()),
        });
        let endpoint = Endpoint::per_instance(&broker.name("instance"));
        let endpoint = endpoint.policy(patient().retry(Retry::none()));
        instances.push((broker.start(endpoint.consumer(seen.clone())).await?, seen));
    }
    instances[0].0.publish(&Ordered { number: 1 }).await?;
    for (_, seen) in &instances {
        let calls = seen.take(2).await;
        let counts: Vec<_> = calls.iter().map(ConsumeContext::redelivery_count).collect();
        assert_eq!(counts, [0, 1]);
    }
    for (bus, seen) in instances {
        bus.shutdown().await?;
        assert_eq!(seen.calls(), 2);
    }
    Ok(())
}

/// A deferred message comes again, without a retry or a fault.
async fn a_deferred_message_comes_again(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("deferring");
    let (seen, ordered) = (Recorder::<Place>::new(), Recorder::<Ordered>::new());
    let deferring = seen.then(|ctx| async move {
        let number = ctx.redelivery_count();
        ctx.publish(&Ordered { number }).await?;
        match number {
            2 => Ok(ctx.publish(&Ordered { number: LAST }).await?),
            _ => ctx.defer(SOON),
        }
    });
    let policy = Policy::new().retry(Retry::immediate(3));
    let bus = broker
        .bus()
        .endpoint(serial(&queue).policy(policy).consumer(deferring))
        .endpoint(serial(broker.name("ordered")).consumer(ordered.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(numbers(&ordered.until_last().await), [2]);
    bus.shutdown().await?;
    assert_eq!(seen.calls(), 3);
    let errors = broker.depth(&format!("{queue}_error")).await;
    assert_eq!(errors.unwrap_or(0), 0);
    Ok(())
}

/// Deferrals use up nothing of a policy.
async fn deferrals_are_no_redeliveries_of_a_policy(broker: &dyn TestBroker) -> Outcome {
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.redelivery_count() {
        0 | 1 => ctx.defer(SOON),
        _ => Err("broken".into()),
    });
    let set = |endpoint: Endpoint| endpoint.policy(patient().retry(Retry::none()));
    let fixture = Fixture::start(broker, seen, set).await?;
    fixture.send(&Place { number: 1 }).await?;
    let failed = fixture.errors.next().await;
    assert_eq!(reason(&failed), "broken");
    assert_eq!(fixture.seen.calls(), 5, "two deferrals, three attempts");
    fixture.stop().await
}

#[derive(Clone, Debug, Default)]
struct Ends(Arc<Mutex<Vec<String>>>);

impl Observer for Ends {
    fn post_receive(&self, ended: &PostReceive<'_>) {
        let end = match ended.outcome {
            ReceiveOutcome::Redelivered(error, wait) => format!("{:?} {wait:?}", error.kind()),
            other => format!("{other:?}"),
        };
        self.0.lock().expect("no panic").push(end);
    }
}

/// Observers hear that a delivery ended with a copy, and why.
async fn observers_hear_of_redeliveries(broker: &dyn TestBroker) -> Outcome {
    let (queue, ends) = (broker.name("watched"), Ends::default());
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.redelivery_count() {
        0 => ctx.defer(SOON),
        1 => Err("broken".into()),
        _ => Ok(()),
    });
    let policy = Policy::new().redelivery(Retry::interval(1, 2 * SOON));
    let bus = broker
        .bus()
        .observe(ends.clone())
        .endpoint(Endpoint::new(&queue).policy(policy).consumer(seen.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    let expected = [
        format!("{:?} {SOON:?}", FailureKind::Deferred),
        format!("{:?} {:?}", FailureKind::Failed, 2 * SOON),
        "Handled".to_owned(),
    ];
    eventually("the message ends", async || {
        ends.0.lock().expect("no panic").len() == expected.len()
    })
    .await;
    assert_eq!(*ends.0.lock().expect("no panic"), expected);
    bus.shutdown().await?;
    Ok(())
}

/// A redelivery that could not work is reported at the start.
async fn a_redelivery_that_cannot_work_is_a_mistake(broker: &dyn TestBroker) -> Outcome {
    let soon = || Policy::new().redelivery(Retry::interval(1, SOON));
    let nothing = Policy::new().redelivery(Retry::intervals([]));
    let full = Queue::classic("full").max_length(1, Overflow::RejectPublish);
    let endpoints = [
        Endpoint::new("lost").at_most_once().policy(soon()),
        Endpoint::new("never").policy(nothing),
        Endpoint::on(full).policy(soon()),
    ];
    let bus = endpoints.into_iter().fold(broker.bus(), |bus, endpoint| {
        bus.endpoint(endpoint.consumer(Recorder::<Place>::new()))
    });
    let started = bus.start().await;
    let Err(StartError::Configuration(mistakes)) = &started else {
        panic!("the bus must not start: {started:?}");
    };
    let mistakes: Vec<_> = mistakes.iter().collect();
    let expected = [
        ("`lost`", "excludes"),
        ("`never`", "no intervals"),
        ("`full`", "refuses messages"),
    ];
    for (place, reason) in expected {
        let is_named = |mistake: &&&str| mistake.contains(place) && mistake.contains(reason);
        assert!(
            mistakes.iter().any(|mistake| is_named(&mistake)),
            "{place}: {mistakes:#?}"
        );
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    Ok(())
}

behaviours! { redelivery:
    a_redelivery_that_cannot_work_is_a_mistake needs DelayedDelivery & QueueLimits,
    attempts_are_exact_among_several_instances needs DelayedDelivery,
    a_redelivered_message_is_the_same_but_for_its_count needs DelayedDelivery,
    only_the_last_attempt_has_a_fault needs DelayedDelivery,
    errors_have_budgets_of_their_own needs DelayedDelivery,
    what_cannot_pass_is_not_redelivered needs DelayedDelivery,
    a_message_that_waits_holds_no_slot needs DelayedDelivery,
    a_redelivered_message_is_no_duplicate needs DelayedDelivery,
    a_failed_attempt_has_sent_nothing needs DelayedDelivery,
    a_redelivered_query_is_answered needs DelayedDelivery,
    a_tap_gets_a_redelivered_message_once needs DelayedDelivery,
    a_message_of_one_instance_comes_again_to_it needs DelayedDelivery,
    a_deferred_message_comes_again needs DelayedDelivery,
    deferrals_are_no_redeliveries_of_a_policy needs DelayedDelivery,
    observers_hear_of_redeliveries needs DelayedDelivery,
}
