//! Outcomes of deliveries, as transports take them.

use std::time::Duration;

use bus_core::transport::Settlement;
use tokio::time::Instant;

use crate::support::{Outcome, raw};
use crate::test_broker::TestBroker;

/// A deferred delivery comes again later, and others overtake it.
async fn a_deferred_delivery_comes_again_later(broker: &dyn TestBroker) -> Outcome {
    let (queue, time) = (broker.name("deferred"), Duration::from_secs(1));
    let wire = broker.wire().await;
    let reader = wire.read(&queue).await;
    wire.send(raw(&queue, "first")).await;
    let first = reader.delivery().await;
    let deferred = Instant::now();
    first.receipt.settle(Settlement::Defer(time));
    wire.send(raw(&queue, "second")).await;
    assert_eq!(reader.next().await.body, "second");
    let again = reader.next().await;
    assert!(deferred.elapsed() >= time, "{:?}", deferred.elapsed());
    assert_eq!((&*again.body, again.redelivered), (&b"first"[..], true));
    wire.close().await;
    Ok(())
}

/// A deferred delivery is not lost where the transport cannot defer.
async fn a_deferred_delivery_comes_again(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("deferred");
    let wire = broker.wire().await;
    let reader = wire.read(&queue).await;
    wire.send(raw(&queue, "first")).await;
    let first = reader.delivery().await;
    let brief = Duration::from_millis(10);
    first.receipt.settle(Settlement::Defer(brief));
    let again = reader.next().await;
    assert_eq!((&*again.body, again.redelivered), (&b"first"[..], true));
    wire.close().await;
    Ok(())
}

/// An acknowledgement that was waited for has taken the message out of its queue.
async fn an_acknowledgement_can_be_waited_for(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("acknowledged");
    let wire = broker.wire().await;
    let reader = wire.read(&queue).await;
    wire.send(raw(&queue, "only")).await;
    reader.delivery().await.receipt.acknowledge().await?;
    wire.close().await;
    assert_eq!(broker.depth(&queue).await, Some(0));
    Ok(())
}

/// No more deliveries are unsettled at once than the prefetch says.
async fn the_prefetch_bounds_what_is_unsettled(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("bounded");
    let wire = broker.wire().await;
    wire.declare_queue(&queue).await;
    let reader = wire.read_at_most(&queue, 2).await;
    for number in 0..4 {
        wire.send(raw(&queue, number.to_string())).await;
    }
    let (first, _second) = (reader.delivery().await, reader.delivery().await);
    tokio::select! {
        biased;
        third = reader.delivery() => panic!("a third one is handed out: {third:?}"),
        () = broker.until_depth(&queue, 2) => {}
    }
    first.receipt.settle(Settlement::Ack);
    assert_eq!(reader.next().await.body, "2");
    wire.close().await;
    Ok(())
}

/// A subscription that is stopped hands out no more; what it has can be settled.
async fn a_stopped_subscription_settles_what_it_has(broker: &dyn TestBroker) -> Outcome {
    let queue = broker.name("stopped");
    let wire = broker.wire().await;
    wire.declare_queue(&queue).await;
    let reader = wire.read_at_most(&queue, 1).await;
    wire.send(raw(&queue, "first")).await;
    wire.send(raw(&queue, "second")).await;
    let first = reader.delivery().await;
    assert!(reader.stop().await, "it is stopped");
    first.receipt.settle(Settlement::Ack);
    wire.close().await;
    assert_eq!(broker.depth(&queue).await, Some(1));
    Ok(())
}

behaviours! { settling:
    the_prefetch_bounds_what_is_unsettled,
    a_deferred_delivery_comes_again_later needs DeferredRedelivery,
    a_deferred_delivery_comes_again,
    an_acknowledgement_can_be_waited_for,
    a_stopped_subscription_settles_what_it_has,
}
