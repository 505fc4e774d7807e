//! Taps, which only listen to what reaches another endpoint.

use std::sync::{Arc, Mutex};

use bus_core::error::SendErrorKind;
use bus_core::{ConsumeContext, Endpoint, RawMessage, Retry};

use super::requests::tell;
use crate::support::contracts::{Answered, Ask, LAST, Ordered, Place};
use crate::support::fixture::{places, serial};
use crate::support::{Outcome, Recorder, numbers, with};
use crate::test_broker::TestBroker;

/// A tap gets an identical copy of what is sent and published to the endpoint; that
/// handles each once.
async fn a_tap_gets_an_identical_copy(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("tapped");
    let (placed, ordered) = (Recorder::<Place>::new(), Recorder::<Ordered>::new());
    let overheard = Recorder::<RawMessage>::new();
    let bus = broker
        .bus()
        .endpoint(
            Endpoint::new(&queue)
                .consumer(placed.clone())
                .consumer(ordered.clone()),
        )
        .endpoint(
            Endpoint::new(broker.name("tap"))
                .tap(&queue)
                .concurrency(1)
                .consume_any(overheard.clone()),
        )
        .start()
        .await?;
    bus.send_to(format!("queue:{queue}"), &Place { number: 1 })
        .header("Tenant", "north")
        .await?;
    bus.publish(&Ordered { number: 2 }).await?;
    let (place, order) = (placed.next().await, ordered.next().await);
    let copies = overheard.take(2).await;
    for (copy, original) in copies.iter().zip([place.incoming(), order.incoming()]) {
        assert_eq!(copy.incoming().body, original.body);
        assert_eq!(copy.incoming().headers, original.headers);
        assert_eq!(copy.incoming().message_id, original.message_id);
    }
    assert_eq!(copies[0].message().decode::<Place>()?.number, 1);
    bus.shutdown().await?;
    assert_eq!(
        (placed.calls(), ordered.calls(), overheard.calls()),
        (1, 1, 2)
    );
    Ok(())
}

/// A tap that responds, keeps how that was refused, and fails.
fn answering_tap(
    broker: &dyn TestBroker,
    queue: &str,
    refusals: &Arc<Mutex<Vec<SendErrorKind>>>,
) -> Endpoint {
    let answering = with(
        Arc::clone(refusals),
        |refusals, ctx: ConsumeContext<Ask>| async move {
            let answer = ctx.respond(&Answered { number: 666 }).await;
            let kind = answer.expect_err("a tap must not answer").kind();
            refusals.lock().expect("no panic").push(kind);
            Err("the tap is broken".into())
        },
    );
    Endpoint::new(broker.name("tap"))
        .tap(queue)
        .without_subscriptions()
        .consumer::<Ask, _>(answering)
}

/// A tap that fails or responds changes nothing: no reply, no fault.
async fn a_tap_sends_no_reply_and_raises_no_fault(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("tapped");
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let tap = answering_tap(broker, &queue, &refusals);
    let responder = Endpoint::new(&queue).without_subscriptions().consumer(tell);
    let bus = broker
        .bus()
        .endpoint(responder)
        .endpoint(tap)
        .start()
        .await?;
    let wire = broker.wire().await;
    let kept = wire.read(&format!("{}_error", broker.name("tap"))).await;
    let (inbox, faults) = (broker.name("inbox"), broker.name("faults"));
    let replies = wire.read(&inbox).await;
    wire.declare_queue(&faults).await;
    for number in 0..3 {
        bus.send_to(format!("queue:{queue}"), &Ask { number })
            .response_address(format!("queue:{inbox}"))
            .fault_address(format!("queue:{faults}"))
            .await?;
        // A fault would go out before the message is moved.
        let failed = kept.next().await;
        assert_eq!(
            failed.headers.text("MT-Fault-Message"),
            Some("the tap is broken")
        );
        let reply: serde_json::Value = serde_json::from_slice(&replies.next().await.body)?;
        assert_eq!(reply["message"]["number"], number, "{reply}");
    }
    bus.shutdown().await?;
    assert_eq!(broker.depth(&faults).await, Some(0));
    assert_eq!(broker.depth(&inbox).await, Some(0));
    assert_eq!(
        *refusals.lock().expect("no panic"),
        [SendErrorKind::Unsupported; 3]
    );
    wire.close().await;
    Ok(())
}

/// A message that is retried is overheard once.
async fn a_retried_message_is_overheard_once(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("tapped");
    let seen = Recorder::<Place>::deciding(|ctx| match ctx.attempt() {
        3 => Ok(()),
        _ => Err("broken".into()),
    });
    let overheard = Recorder::<Place>::new();
    let bus = broker
        .bus()
        .endpoint(
            serial(&queue)
                .retry(Retry::immediate(2))
                .consumer(seen.clone()),
        )
        .endpoint(
            Endpoint::new(broker.name("tap"))
                .tap(&queue)
                .concurrency(1)
                .without_subscriptions()
                .consumer(overheard.clone()),
        )
        .start()
        .await?;
    places(&bus, &queue, [1, LAST]).await?;
    seen.take(6).await;
    assert_eq!(numbers(&overheard.until_last().await), [1]);
    bus.shutdown().await?;
    Ok(())
}

behaviours! { taps:
    a_tap_gets_an_identical_copy,
    a_tap_sends_no_reply_and_raises_no_fault,
    a_retried_message_is_overheard_once,
}
