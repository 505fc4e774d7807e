//! The saga of an order on a bus, on virtual time.

use std::time::Duration;

use uuid::Uuid;

use crate::order::{
    OrderCancelled, OrderCompleted, OrderPaid, OrderPlaced, OrderShipped, PATIENCE, PaymentOverdue,
    ShipOrder, Stage, find, order_saga, placed, shipped, start,
};

/// Lets virtual time pass.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_paid_is_shipped_and_completed() {
    let (harness, orders) = start(order_saga()).await;
    let order_id = Uuid::now_v7();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    let order = find(&orders, order_id).await;
    assert_eq!(order.state, Some(Stage::AwaitingPayment));
    assert_eq!((order.data.number.as_str(), order.revision), ("A-7", 1));

    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.quiescent().await;
    assert_eq!(harness.published::<ShipOrder>().only().number, "A-7");
    let order = orders.find_by("number", "A-7").await.unwrap().unwrap();
    assert_eq!(order.state, Some(Stage::AwaitingShipment));

    harness.publish(&shipped("A-7")).await.unwrap();
    harness.quiescent().await;
    assert_eq!(harness.published::<OrderCompleted>().count(), 1);
    assert_eq!(find(&orders, order_id).await.state, None);

    // It is found by its number, too: what comes late, or again, is no failure.
    harness.publish(&shipped("A-7")).await.unwrap();
    harness.quiescent().await;
    assert!(harness.faulted::<OrderShipped>().none());
    let order = orders.find_by("number", "A-7").await.unwrap().unwrap();
    assert_eq!((order.state, order.revision), (None, 3));
    // The number is free for another order.
    let again = Uuid::now_v7();
    harness.publish(&placed(again, "A-7")).await.unwrap();
    harness.quiescent().await;
    let order = orders.find_by("number", "A-7").await.unwrap().unwrap();
    assert_eq!(order.id, again);
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_does_not_come_in_time_cancels_the_order() {
    let (harness, orders) = start(order_saga()).await;
    let order_id = Uuid::now_v7();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    let second = Duration::from_secs(1);
    pass(PATIENCE.saturating_sub(second)).await;
    harness.quiescent().await;
    assert!(harness.published::<OrderCancelled>().none());
    pass(second).await;
    harness.quiescent().await;
    assert_eq!(harness.published::<OrderCancelled>().only().number, "A-7");
    assert_eq!(find(&orders, order_id).await.state, None);
    // Late events of an instance that has finished are no failures.
    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    assert!(harness.faulted::<OrderPaid>().none());
    assert!(harness.published::<ShipOrder>().none());
    assert_eq!(find(&orders, order_id).await.revision, 2);
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_was_cancelled_comes_and_changes_nothing() {
    let (harness, orders) = start(order_saga()).await;
    let [open, done] = [Uuid::now_v7(), Uuid::now_v7()];
    for (order_id, number) in [(open, "A-7"), (done, "A-8")] {
        harness.publish(&placed(order_id, number)).await.unwrap();
        harness.quiescent().await;
        harness.publish(&OrderPaid { order_id }).await.unwrap();
    }
    harness.quiescent().await;
    harness.publish(&shipped("A-8")).await.unwrap();
    harness.quiescent().await;
    pass(PATIENCE * 2).await;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<PaymentOverdue>().count(), 2);
    assert!(harness.faulted::<PaymentOverdue>().none());
    assert!(harness.published::<OrderCancelled>().none());
    let order = find(&orders, open).await;
    assert_eq!(
        (order.state, order.revision),
        (Some(Stage::AwaitingShipment), 2)
    );
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shipment_that_overtakes_the_payment_waits_for_it() {
    let (harness, orders) = start(order_saga()).await;
    let order_id = Uuid::now_v7();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    harness.publish(&shipped("A-7")).await.unwrap();
    harness.quiescent().await;
    assert_eq!(harness.consumed::<OrderShipped>().count(), 1);
    assert!(harness.published::<OrderCompleted>().none());
    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.quiescent().await;
    assert_eq!(harness.published::<OrderCompleted>().count(), 1);
    assert_eq!(find(&orders, order_id).await.state, None);
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_another_service_sends_is_ignored() {
    let (harness, orders) = start(order_saga()).await;
    let order_id = Uuid::now_v7();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    let forged = harness.send_to("queue:orders", &PaymentOverdue {});
    forged.correlation_id(order_id).await.unwrap();
    harness.quiescent().await;
    assert_eq!(harness.consumed::<PaymentOverdue>().count(), 1);
    assert!(harness.published::<OrderCancelled>().none());
    assert_eq!(find(&orders, order_id).await.revision, 1);
    assert_eq!(harness.consumed::<OrderPlaced>().count(), 1);
    harness.shutdown().await.unwrap();
}
