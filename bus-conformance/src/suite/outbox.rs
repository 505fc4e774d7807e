//! Outbox: messages of a consumer leave when it has succeeded, and only then.

use std::sync::{Arc, OnceLock};

use bus_core::{Bus, ConsumeContext, Endpoint, Fault, Policy, Retry, StartError};
use uuid::Uuid;

use super::faults::fault_of;
use crate::support::contracts::{Answered, Ask, Cancelled, LAST, Ordered, Place};
use crate::support::fixture::{place, places, reason, serial};
use crate::support::{Gate, Outcome, Recorder, numbers, with};
use crate::test_broker::TestBroker;

/// A consumer of `Place` that sends and publishes, then fails in all attempts
/// before `succeeds`.
fn sender(end: String, succeeds: u32) -> impl bus_core::Consumer<Place> {
    with(end, move |end, ctx: ConsumeContext<Place>| async move {
        let number = ctx.message().number;
        ctx.publish(&Ordered { number }).await?;
        ctx.send_to(format!("queue:{end}"), &Cancelled { number })
            .await?;
        if ctx.attempt() < succeeds && number != LAST {
            return Err("after sending".into());
        }
        Ok(())
    })
}

/// The receivers of what a [`sender`] sends.
struct Sent {
    bus: Bus,
    queue: String,
    ordered: Recorder<Ordered>,
    cancelled: Recorder<Cancelled>,
}

impl Sent {
    async fn start(
        broker: &dyn TestBroker,
        retry: Retry,
        succeeds: u32,
    ) -> Result<Self, StartError> {
        let (queue, end) = (broker.name("sender"), broker.name("end"));
        let (ordered, cancelled) = (Recorder::new(), Recorder::new());
        let sending = serial(&queue).retry(retry);
        let cancelling = serial(&end).without_subscriptions();
        let bus = broker
            .bus()
            .endpoint(serial(broker.name("ordered")).consumer(ordered.clone()))
            .endpoint(cancelling.consumer(cancelled.clone()))
            .endpoint(sending.consumer(sender(end, succeeds)));
        Ok(Self {
            bus: bus.start().await?,
            queue,
            ordered,
            cancelled,
        })
    }
}

/// Nothing of what failed attempts sent ever leaves; their fault does.
async fn a_failed_consumer_has_sent_nothing(broker: &dyn TestBroker) -> Outcome {
    let faults = broker.name("faults");
    let sent = Sent::start(broker, Retry::immediate(2), 99).await?;
    let wire = broker.wire().await;
    let told = wire.read(&faults).await;
    let first = sent
        .bus
        .send_to(format!("queue:{}", sent.queue), &Place { number: 1 });
    first.fault_address(format!("queue:{faults}")).await?;
    told.next().await;
    place(&sent.bus, &sent.queue, LAST).await?;
    assert_eq!(sent.ordered.until_last().await.len(), 0);
    assert_eq!(sent.cancelled.until_last().await.len(), 0);
    sent.bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Messages of the successful attempt leave once.
async fn the_successful_attempt_sends_once(broker: &dyn TestBroker) -> Outcome {
    let sent = Sent::start(broker, Retry::immediate(5), 3).await?;
    places(&sent.bus, &sent.queue, [1, LAST]).await?;
    assert_eq!(numbers(&sent.ordered.until_last().await), [1]);
    assert_eq!(numbers(&sent.cancelled.until_last().await), [1]);
    sent.bus.shutdown().await?;
    Ok(())
}

/// Nothing leaves while the consumer still runs.
async fn nothing_leaves_before_the_consumer_is_done(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("sender"), broker.name("end"));
    let gate = Gate::closed();
    let slow = with(
        (end.clone(), gate.clone()),
        |(end, gate), ctx: ConsumeContext<Place>| async move {
            ctx.send_to(format!("queue:{end}"), &Cancelled { number: 1 })
                .await?;
            gate.pass().await;
            Ok(())
        },
    );
    let bus = broker.start(Endpoint::new(&queue).consumer(slow)).await?;
    let wire = broker.wire().await;
    let reader = wire.read(&end).await;
    place(&bus, &queue, 1).await?;
    gate.holds(1).await;
    place(&bus, &end, LAST).await?;
    let first = reader.next().await;
    assert!(
        first.body.ends_with(b"}")
            && String::from_utf8_lossy(&first.body).contains(&LAST.to_string())
    );
    gate.open();
    let second = reader.next().await;
    assert!(String::from_utf8_lossy(&second.body).contains("Conformance:Cancelled"));
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// Without an outbox what was sent is out, also if the consumer fails then.
async fn without_an_outbox_messages_leave_at_once(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("sender"), broker.name("end"));
    let ordered = Recorder::<Ordered>::new();
    let bus = broker
        .bus()
        .endpoint(
            serial(&queue)
                .policy(Policy::new().without_outbox())
                .retry(Retry::immediate(1))
                .consumer(sender(end, 99)),
        )
        .endpoint(serial(broker.name("ordered")).consumer(ordered.clone()))
        .start()
        .await?;
    places(&bus, &queue, [1, LAST]).await?;
    assert_eq!(numbers(&ordered.until_last().await), [1, 1]);
    bus.shutdown().await?;
    Ok(())
}

/// A message marked so leaves at once, past the outbox.
async fn a_message_may_leave_immediately(broker: &dyn TestBroker) -> Outcome {
    let (queue, end) = (broker.name("sender"), broker.name("end"));
    let seen = Recorder::<Cancelled>::new();
    let hasty = with(end.clone(), |end, ctx: ConsumeContext<Place>| async move {
        let number = ctx.message().number;
        let address = format!("queue:{end}");
        ctx.send_to(address.as_str(), &Cancelled { number }).await?;
        ctx.send_to(address.as_str(), &Cancelled { number: number + 1 })
            .immediately()
            .await?;
        Err("after sending".into())
    });
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(hasty))
        .endpoint(serial(&end).without_subscriptions().consumer(seen.clone()))
        .start()
        .await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    place(&bus, &queue, 1).await?;
    errors.next().await;
    bus.send_to(format!("queue:{end}"), &Cancelled { number: LAST })
        .await?;
    assert_eq!(numbers(&seen.until_last().await), [2]);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// A bus handle kept in a consumer sends at once, outside of the conversation.
async fn a_bus_handle_in_a_consumer_sends_at_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let handle: Arc<OnceLock<Bus>> = Arc::default();
    let (ordered, placed) = (Recorder::<Ordered>::new(), Recorder::<Place>::new());
    let direct = with(
        (Arc::clone(&handle), placed.clone()),
        |(handle, placed), ctx: ConsumeContext<Place>| async move {
            placed.note(&ctx);
            let bus = handle.get().ok_or("set before the first message")?;
            bus.publish(&Ordered { number: 1 }).await?;
            Err("after publishing".into())
        },
    );
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(direct))
        .endpoint(Endpoint::new(broker.name("ordered")).consumer(ordered.clone()))
        .start()
        .await?;
    handle.set(bus.clone()).map_err(|_| "set once")?;
    place(&bus, &queue, 1).await?;
    let event = ordered.next().await;
    assert_ne!(
        event.conversation_id(),
        placed.next().await.conversation_id()
    );
    bus.shutdown().await?;
    Ok(())
}

/// A request inside a consumer goes at once, also from an attempt that fails later.
async fn a_request_inside_a_consumer_goes_at_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("asker");
    let answers = Recorder::<Answered>::new();
    let asked = Recorder::<Ask>::new();
    let responder = Endpoint::new(broker.name("responder")).consumer(asked.then(
        |ctx: ConsumeContext<Ask>| async move {
            Ok(ctx
                .respond(&Answered {
                    number: ctx.message().number,
                })
                .await?)
        },
    ));
    let relay = Endpoint::new(&queue)
        .retry(Retry::immediate(1))
        .consumer(with((), |(), ctx: ConsumeContext<Place>| async move {
            let told: Answered = ctx
                .request(&Ask {
                    number: ctx.attempt(),
                })
                .await?;
            if told.number == 1 {
                return Err("not that one".into());
            }
            Ok(ctx.publish(&told).await?)
        }));
    let bus = broker
        .bus()
        .endpoint(responder)
        .endpoint(relay)
        .endpoint(Endpoint::new(broker.name("answers")).consumer(answers.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    assert_eq!(answers.next().await.message().number, 2);
    assert_eq!(numbers(&asked.take(2).await), [1, 2]);
    bus.shutdown().await?;
    Ok(())
}

/// A message refused for good fails its delivery, without a retry of the consumer.
async fn a_message_that_cannot_leave_fails_its_consumer(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let seen = Recorder::<Place>::new();
    let nowhere = format!("exchange:{}", broker.name("nowhere"));
    let lost = with(
        (seen.clone(), nowhere),
        |(seen, nowhere), ctx: ConsumeContext<Place>| async move {
            seen.note(&ctx);
            Ok(ctx.send_to(nowhere, &Cancelled { number: 1 }).await?)
        },
    );
    let endpoint = Endpoint::new(&queue)
        .retry(Retry::immediate(3))
        .consumer(lost);
    let bus = broker.start(endpoint).await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    place(&bus, &queue, 1).await?;
    let failed = errors.next().await;
    let reason = reason(&failed);
    assert!(reason.contains(&broker.name("nowhere")), "{reason}");
    assert_eq!(seen.calls(), 1);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

/// The id of a message is fixed when it is published, before the outbox lets it go.
async fn ids_are_fixed_when_a_message_is_published(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let seen = Recorder::<Ordered>::new();
    let id = Uuid::now_v7();
    let publisher = with(id, |id, ctx: ConsumeContext<Place>| async move {
        ctx.publish(&Ordered { number: 1 }).message_id(id).await?;
        ctx.publish(&Ordered { number: 2 }).await?;
        Ok(())
    });
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(publisher))
        .endpoint(serial(broker.name("ordered")).consumer(seen.clone()))
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    let calls = seen.take(2).await;
    assert_eq!(calls[0].message_id(), Some(id));
    assert!(calls[1].message_id().is_some_and(|other| other != id));
    bus.shutdown().await?;
    Ok(())
}

/// A fault is published although the outbox throws everything else away.
async fn the_fault_of_a_failed_attempt_leaves(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let faults = Recorder::<Fault<Place>>::new();
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(&queue).consumer(sender(broker.name("end"), 99)))
        .endpoint(Endpoint::new(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await?;
    let id = Uuid::now_v7();
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .message_id(id)
        .await?;
    fault_of(&faults, id).await;
    bus.shutdown().await?;
    Ok(())
}

/// Publishing through the context of a consumer that has ended is an error.
async fn a_context_sends_nothing_after_its_consumer_has_ended(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("sender");
    let contexts = Recorder::<Place>::deciding(|ctx| match ctx.message().number {
        1 => Ok(()),
        _ => Err("broken".into()),
    });
    let ordered = Recorder::<Ordered>::new();
    let bus = broker
        .bus()
        .endpoint(serial(&queue).consumer(contexts.clone()))
        .endpoint(serial(broker.name("ordered")).consumer(ordered.clone()))
        .start()
        .await?;
    let wire = broker.wire().await;
    let errors = wire.read(&format!("{queue}_error")).await;
    places(&bus, &queue, [1, 2]).await?;
    errors.next().await;
    for ended in contexts.take(2).await {
        let late = ended
            .publish(&Ordered {
                number: ended.message().number,
            })
            .await;
        let error = late.expect_err("its outbox is closed");
        assert!(error.to_string().contains("has ended"), "{error}");
        ended.publish(&Ordered { number: 10 }).immediately().await?;
    }
    bus.publish(&Ordered { number: LAST }).await?;
    assert_eq!(numbers(&ordered.until_last().await), [10, 10]);
    bus.shutdown().await?;
    wire.close().await;
    Ok(())
}

behaviours! { outbox:
    a_failed_consumer_has_sent_nothing,
    the_successful_attempt_sends_once,
    nothing_leaves_before_the_consumer_is_done,
    without_an_outbox_messages_leave_at_once,
    a_message_may_leave_immediately,
    a_bus_handle_in_a_consumer_sends_at_once,
    a_request_inside_a_consumer_goes_at_once,
    a_message_that_cannot_leave_fails_its_consumer,
    ids_are_fixed_when_a_message_is_published,
    the_fault_of_a_failed_attempt_leaves,
    a_context_sends_nothing_after_its_consumer_has_ended,
}
