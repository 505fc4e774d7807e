//! Batches: what becomes of each message.

use bus_core::batch::{Batch, Batching};
use bus_core::transport::Incoming;
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Policy, Retry};

use super::batches::{MILLI, endpoint, full, start, stop};
use super::idempotency::once;
use crate::support::batches::Batches;
use crate::support::contracts::{Ordered, Place};
use crate::support::fixture::{in_order, places, reason, serial};
use crate::support::{Outcome, Reader, Recorder, Wire, numbers};
use crate::test_broker::TestBroker;

/// The error queue of an endpoint, and the connection that reads it.
struct Errors {
    reader: Reader,
    _wire: Wire,
}

impl Errors {
    async fn of(broker: &dyn TestBroker, queue: &str) -> Self {
        let wire = broker.wire().await;
        Self {
            reader: wire.read(&format!("{queue}_error")).await,
            _wire: wire,
        }
    }

    async fn next(&self) -> Incoming {
        self.reader.next().await
    }
}

/// One member fails, and the others are done.
async fn each_member_has_an_end_of_its_own(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::deciding(|batch| {
        for member in batch.iter().filter(|member| member.message().number == 2) {
            member.fail(ConsumeError::permanent("the second"));
        }
        Ok(())
    });
    let endpoint = endpoint(broker, full(4), batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    let errors = Errors::of(broker, &queue).await;
    places(&bus, &queue, 0..4).await?;
    let failed = errors.next().await;
    assert_eq!(reason(&failed), "the second");
    assert_eq!(batches.next().await, [0, 1, 2, 3]);
    stop(broker, bus, &queue, 0).await
}

/// A decision about a member holds, though the batch fails.
async fn a_decision_outlives_a_failure_of_the_batch(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::deciding(|batch| {
        for member in batch {
            match member.message().number {
                0 => member.succeed(),
                1 => member.fail("its own"),
                _ => {}
            }
        }
        Err("that of all".into())
    });
    let endpoint = endpoint(broker, full(3), batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    let errors = Errors::of(broker, &queue).await;
    places(&bus, &queue, 0..3).await?;
    let failed = [errors.next().await, errors.next().await];
    let mut reasons = failed.each_ref().map(reason);
    reasons.sort_unstable();
    assert_eq!(reasons, ["its own", "that of all"]);
    stop(broker, bus, &queue, 0).await
}

/// Fails the batches that have the message 2.
fn poisoned(batch: &Batch<Place>) -> ConsumeResult {
    let has_poison = batch.messages().any(|place| place.number == 2);
    if has_poison {
        Err("poisoned".into())
    } else {
        Ok(())
    }
}

/// Of a batch that fails, each member is tried alone: the healthy ones are done.
async fn members_that_failed_together_are_tried_alone(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::deciding(poisoned);
    let endpoint = endpoint(broker, full(4), batches.consumer()).retry(Retry::immediate(1));
    let (bus, queue) = start(broker, endpoint).await?;
    let errors = Errors::of(broker, &queue).await;
    places(&bus, &queue, 0..4).await?;
    assert_eq!(batches.next().await, [0, 1, 2, 3]);
    let mut alone = Vec::new();
    while alone.len() < 4 {
        alone.push(batches.next().await);
    }
    alone.sort_unstable();
    assert_eq!(alone, [[0], [1], [2], [3]]);
    assert_eq!(reason(&errors.next().await), "poisoned");
    stop(broker, bus, &queue, 0).await
}

/// Members that failed by a decision are tried again in the next batch.
async fn members_that_failed_by_themselves_join_the_next_batch(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::deciding(|batch| {
        let first = batch
            .iter()
            .filter(|member| member.context().attempt() == 1);
        for member in first.filter(|member| member.message().number % 2 == 1) {
            member.fail("odd");
        }
        Ok(())
    });
    let endpoint = endpoint(broker, full(4), batches.consumer()).retry(Retry::immediate(1));
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..4).await?;
    assert_eq!(batches.next().await, [0, 1, 2, 3]);
    places(&bus, &queue, [4, 6]).await?;
    assert_eq!(batches.next().await, [1, 3, 4, 6]);
    stop(broker, bus, &queue, 0).await
}

/// A panic fails each member, once, and the next batch is consumed.
async fn a_panic_fails_each_member(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::deciding(|batch| {
        assert!(batch.messages().any(|place| place.number > 2), "clumsy");
        Ok(())
    });
    let endpoint = endpoint(broker, full(3), batches.consumer()).retry(Retry::immediate(5));
    let (bus, queue) = start(broker, endpoint).await?;
    let errors = Errors::of(broker, &queue).await;
    places(&bus, &queue, 0..3).await?;
    for _ in 0..3 {
        let failed = errors.next().await;
        assert_eq!(reason(&failed), "panicked: clumsy");
    }
    assert_eq!(batches.next().await, [0, 1, 2]);
    places(&bus, &queue, 3..6).await?;
    assert_eq!(batches.next().await, [3, 4, 5]);
    stop(broker, bus, &queue, 0).await
}

/// A key that panics fails its message, and no other.
async fn a_key_that_panics_fails_its_message(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let keyed = full(2).group_by(|ctx: &ConsumeContext<Place>| {
        assert_ne!(ctx.message().number, 0, "no key for this one");
    });
    let endpoint = Endpoint::new(broker.name("keyless")).batch(keyed, batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    let errors = Errors::of(broker, &queue).await;
    places(&bus, &queue, 0..3).await?;
    let failed = errors.next().await;
    assert!(
        reason(&failed).contains("no key for this one"),
        "{failed:?}"
    );
    assert_eq!(batches.next().await, [1, 2]);
    stop(broker, bus, &queue, 0).await
}

/// A message that comes twice is in one batch only, if the endpoint deduplicates.
async fn a_duplicate_is_no_second_member(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let endpoint = endpoint(broker, full(2), batches.consumer()).idempotency(once());
    let (bus, queue) = start(broker, endpoint).await?;
    let id = uuid::Uuid::new_v4();
    for _ in 0..2 {
        bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
            .message_id(id)
            .await?;
    }
    places(&bus, &queue, [2]).await?;
    assert_eq!(batches.next().await, [1, 2]);
    stop(broker, bus, &queue, 0).await?;
    assert_eq!(batches.calls(), 1);
    Ok(())
}

/// Messages of a member leave if that member succeeds.
async fn a_member_sends_for_itself(broker: &dyn TestBroker) -> Outcome {
    let ordered = Recorder::<Ordered>::new();
    let queue = broker.name("sending");
    let send = |batch: Batch<Place>| async move {
        for member in &batch {
            let number = member.message().number;
            member.context().publish(&Ordered { number }).await?;
            if number == 1 {
                member.fail("this one");
            }
        }
        ConsumeResult::Ok(())
    };
    let told = serial(broker.name("ordered")).consumer(ordered.clone());
    let sending = Endpoint::new(&queue).batch(full(3), send);
    let bus = broker.bus().endpoint(told).endpoint(sending);
    let bus = bus.start().await?;
    places(&bus, &queue, 0..3).await?;
    assert_eq!(numbers(&ordered.take(2).await), [0, 2]);
    stop(broker, bus, &queue, 1).await?;
    assert_eq!(ordered.calls(), 2);
    Ok(())
}

/// The timeout does not count the time for which a message waits for others.
async fn a_timeout_does_not_count_the_wait(broker: &dyn TestBroker) -> Outcome {
    let (batches, attempts) = (Batches::new(), Recorder::<Place>::new());
    let watched = {
        let attempts = attempts.clone();
        let batching = Batching::of(10).within(100 * MILLI);
        batching.group_by(move |ctx: &ConsumeContext<Place>| attempts.note(ctx))
    };
    let endpoint = Endpoint::new(broker.name("patient"))
        .batch(watched, batches.consumer())
        .policy(Policy::new().timeout(10 * MILLI));
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, [7]).await?;
    assert_eq!(batches.next().await, [7]);
    stop(broker, bus, &queue, 0).await?;
    assert_eq!(in_order(&attempts.take(1).await), [7]);
    assert_eq!(attempts.calls(), 1, "it did not have to be tried again");
    Ok(())
}

/// A call that takes too long fails its members, which are tried alone.
async fn a_call_that_takes_too_long_fails(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::new();
    let slow = {
        let batches = batches.clone();
        move |batch: Batch<Place>| {
            batches.note(&batch);
            async move {
                if batch.len() > 1 {
                    std::future::pending::<()>().await;
                }
                ConsumeResult::Ok(())
            }
        }
    };
    let endpoint = endpoint(broker, full(2), slow)
        .retry(Retry::immediate(1))
        .policy(Policy::new().timeout(20 * MILLI));
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..2).await?;
    assert_eq!(batches.next().await, [0, 1]);
    let mut alone = [batches.next().await, batches.next().await];
    alone.sort_unstable();
    assert_eq!(alone, [[0], [1]]);
    stop(broker, bus, &queue, 0).await
}

/// A member may be deferred: it comes again later, and has not failed.
async fn a_member_may_be_deferred(broker: &dyn TestBroker) -> Outcome {
    let batches = Batches::deciding(|batch| {
        let new = batch
            .iter()
            .filter(|member| member.context().redelivery_count() == 0);
        for member in new.filter(|member| member.message().number == 1) {
            member.fail(ConsumeError::deferred(MILLI));
        }
        Ok(())
    });
    let endpoint = endpoint(broker, full(2), batches.consumer());
    let (bus, queue) = start(broker, endpoint).await?;
    places(&bus, &queue, 0..2).await?;
    assert_eq!(batches.next().await, [0, 1]);
    places(&bus, &queue, [2]).await?;
    assert_eq!(batches.next().await, [1, 2]);
    stop(broker, bus, &queue, 0).await
}

behaviours! { batch_outcomes:
    each_member_has_an_end_of_its_own,
    a_decision_outlives_a_failure_of_the_batch,
    members_that_failed_together_are_tried_alone,
    members_that_failed_by_themselves_join_the_next_batch,
    a_panic_fails_each_member,
    a_key_that_panics_fails_its_message,
    a_duplicate_is_no_second_member,
    a_member_sends_for_itself,
    a_timeout_does_not_count_the_wait,
    a_call_that_takes_too_long_fails,
    a_member_may_be_deferred needs DelayedDelivery,
}
