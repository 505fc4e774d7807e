//! Messages that wait for their next attempt, and those beside them.

use std::time::Duration;

use bus_core::{ConsumeContext, Endpoint, Retry};

use crate::support::contracts::Place;
use crate::support::fixture::{in_order, place, places, serial};
use crate::support::{Gate, Outcome, Recorder, numbers, with, within};
use crate::test_broker::TestBroker;

const MILLI: Duration = Duration::from_millis(1);

/// A message that waits for its retry keeps its slot; other slots go on meanwhile.
async fn a_waiting_retry_keeps_its_slot_and_others_go_on(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("slots");
    let (seen, gate) = (Recorder::<Place>::new(), Gate::closed());
    let endpoint = Endpoint::new(&queue)
        .concurrency(2)
        .retry(Retry::interval(1, Duration::from_secs(600)))
        .consumer(with(
            (seen.clone(), gate.clone()),
            |(seen, gate): (Recorder<Place>, Gate), ctx: ConsumeContext<Place>| async move {
                seen.note(&ctx);
                if ctx.message().number == 0 {
                    return Err("broken".into());
                }
                gate.pass().await;
                Ok(())
            },
        ));
    let bus = broker.bus().stop_timeout(100 * MILLI).endpoint(endpoint);
    let bus = bus.start().await?;
    let address = format!("queue:{queue}");
    bus.send_to(address.as_str(), &Place { number: 0 }).await?;
    assert_eq!(seen.next().await.message().number, 0);
    for number in 1..10 {
        bus.send_to(address.as_str(), &Place { number }).await?;
    }
    gate.holds(1).await;
    gate.open();
    let others = numbers(&seen.take(9).await);
    assert_eq!(others, (1..10).collect::<Vec<_>>(), "they went on");
    assert_eq!(gate.most(), 1, "there was one slot for them");
    let stopped = bus.shutdown().await;
    assert!(stopped.is_err(), "the first one still waits");
    Ok(())
}

/// With concurrency 1 a message that is retried is not overtaken.
async fn a_retried_message_is_not_overtaken_at_concurrency_1(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("ordered");
    let seen = Recorder::<Place>::deciding(|ctx| match (ctx.message().number, ctx.attempt()) {
        (0, 1 | 2) => Err("broken".into()),
        _ => Ok(()),
    });
    let endpoint = serial(&queue)
        .retry(Retry::interval(2, 20 * MILLI))
        .consumer(seen.clone());
    let bus = broker.start(endpoint).await?;
    places(&bus, &queue, 0..3).await?;
    let order = in_order(&seen.take(5).await);
    assert_eq!(order, [0, 0, 0, 1, 2]);
    bus.shutdown().await?;
    Ok(())
}

/// A stop does not wait out a long retry interval; the message goes back to its
/// queue without a fault.
async fn a_stop_does_not_wait_for_a_retry(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("patient");
    let seen = Recorder::<Place>::failing();
    let endpoint = Endpoint::new(&queue)
        .retry(Retry::interval(10, Duration::from_secs(60)))
        .consumer(seen.clone());
    let bus = broker
        .bus()
        .stop_timeout(Duration::from_millis(100))
        .endpoint(endpoint)
        .start()
        .await?;
    place(&bus, &queue, 1).await?;
    seen.next().await;
    let outcome = within("the stop", bus.shutdown()).await;
    assert!(outcome.is_err(), "the consumer was not done in time");
    broker.until_depth(&queue, 1).await;
    assert_eq!(
        broker.depth(&format!("{queue}_error")).await.unwrap_or(0),
        0
    );
    assert_eq!(seen.calls(), 1);
    Ok(())
}

behaviours! { retry_waits:
    a_waiting_retry_keeps_its_slot_and_others_go_on,
    a_retried_message_is_not_overtaken_at_concurrency_1,
    a_stop_does_not_wait_for_a_retry,
}
