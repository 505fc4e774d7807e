//! Attempts that fail, and events without an instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use bus_core::{Endpoint, Message, Retry};
use bus_inmemory::Harness;
use bus_saga::{MemorySagas, Missing, On, Sagas, StateMachine, by};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{
    Order, OrderPaid, OrderPlaced, PATIENCE, PaymentOverdue, ShipOrder, Stage, find, placed, start,
};

/// Begins an order at the attempt of this number; those before fail after all that they did.
fn failing_until(last: u32) -> StateMachine<Order> {
    let attempts = Arc::new(AtomicU32::new(0));
    let mut saga = StateMachine::<Order>::new();
    let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    let paid = saga.event(by::id(|it: &OrderPaid| it.order_id));
    let overdue = saga.timeout::<PaymentOverdue>();
    saga.initially(placed, |on| on.go(Stage::AwaitingPayment))
        .during(Stage::AwaitingPayment, paid, move |on| {
            on.set(|order, _| order.number.push('!'))
                .schedule(overdue, PATIENCE, |_, _| PaymentOverdue {})
                .publish(|_, _| ShipOrder {
                    number: "A-7".into(),
                })
                .then(move |_| {
                    if attempts.fetch_add(1, SeqCst) + 1 < last {
                        return Err("the step fails".into());
                    }
                    Ok(())
                })
                .go(Stage::AwaitingShipment)
        })
        .ignore_everywhere(placed)
        .ignore(Stage::AwaitingShipment, paid)
        .during(Stage::AwaitingShipment, overdue.fired, On::finish);
    saga
}

async fn run(last: u32, retry: Retry) -> (Harness, Sagas<Order>, Uuid) {
    let sagas = MemorySagas::new();
    let endpoint = Endpoint::new("orders").retry(retry);
    let endpoint = failing_until(last).stored_in(sagas.clone()).on(endpoint);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    let order_id = Uuid::now_v7();
    harness.publish(&placed(order_id, "A-7")).await.unwrap();
    harness.quiescent().await;
    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.quiescent().await;
    (harness, Sagas::of(sagas), order_id)
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_failed_event_stays() {
    let retry = Retry::immediate(2);
    let (harness, orders, order_id) = run(9, retry).await;
    let order = find(&orders, order_id).await;
    assert_eq!(
        (order.state, order.revision),
        (Some(Stage::AwaitingPayment), 1)
    );
    assert_eq!(order.data.number, "");
    assert!(harness.published::<ShipOrder>().none());
    assert!(harness.sent::<PaymentOverdue>().none());
    assert_eq!(harness.faults::<OrderPaid>().count(), 1);
    assert_eq!(harness.transport().waiting("orders_error"), Some(1));
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_retry_begins_with_the_instance_as_it_was() {
    let (harness, orders, order_id) = run(3, Retry::immediate(5)).await;
    let order = find(&orders, order_id).await;
    assert_eq!(
        (order.state, order.revision),
        (Some(Stage::AwaitingShipment), 2)
    );
    assert_eq!(order.data.number, "!");
    assert_eq!(harness.published::<ShipOrder>().count(), 1);
    assert_eq!(harness.sent::<PaymentOverdue>().count(), 1);
    assert!(harness.faults::<OrderPaid>().none());
    harness.shutdown().await.unwrap();
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Shop:NoSuchOrder")]
struct NoSuchOrder {
    order_id: Uuid,
}

fn paying(missing: Option<Missing<OrderPaid>>) -> StateMachine<Order> {
    let mut saga = StateMachine::<Order>::new();
    let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    let paid = saga.event(by::id(|it: &OrderPaid| it.order_id));
    saga.initially(placed, |on| on.go(Stage::AwaitingPayment))
        .during(Stage::AwaitingPayment, paid, |on| {
            on.go(Stage::AwaitingShipment)
        })
        .ignore_everywhere(placed)
        .ignore(Stage::AwaitingShipment, paid)
        .rests_in(Stage::AwaitingShipment);
    if let Some(missing) = missing {
        saga.missing(paid, missing);
    }
    saga
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_instance_fails() {
    let (harness, orders) = start(paying(None)).await;
    let order_id = Uuid::now_v7();
    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.quiescent().await;
    let failed = harness.faulted::<OrderPaid>().all();
    let text = format!("saga `order`: there is no instance {order_id} for OrderPaid");
    assert!(failed[0].error().unwrap().starts_with(&text), "{failed:?}");
    assert_eq!(orders.find(order_id).await.unwrap(), None);
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_instance_can_be_discarded() {
    let (harness, orders) = start(paying(Some(Missing::discard()))).await;
    let order_id = Uuid::now_v7();
    harness.publish(&OrderPaid { order_id }).await.unwrap();
    harness.quiescent().await;
    assert_eq!(harness.consumed::<OrderPaid>().count(), 1);
    assert!(harness.faulted::<OrderPaid>().none());
    assert_eq!(orders.find(order_id).await.unwrap(), None);
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_overtakes_the_beginning_comes_again() {
    let missing = Missing::redeliver(3, Duration::from_secs(60));
    let (harness, orders) = start(paying(Some(missing))).await;
    let [early, alone] = [Uuid::now_v7(), Uuid::now_v7()];
    harness
        .publish(&OrderPaid { order_id: early })
        .await
        .unwrap();
    harness
        .publish(&OrderPaid { order_id: alone })
        .await
        .unwrap();
    harness.quiescent().await;
    assert!(harness.faulted::<OrderPaid>().none());
    harness.publish(&placed(early, "A-7")).await.unwrap();
    harness.quiescent().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    harness.quiescent().await;
    let order = find(&orders, early).await;
    assert_eq!(order.state, Some(Stage::AwaitingShipment));
    // The other one has failed in the end.
    assert_eq!(harness.faults::<OrderPaid>().count(), 1);
    assert_eq!(harness.transport().waiting("orders_error"), Some(1));
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_instance_can_be_answered() {
    let answer = |paid: &OrderPaid| NoSuchOrder {
        order_id: paid.order_id,
    };
    let (harness, _) = start(paying(Some(Missing::respond(answer)))).await;
    let order_id = Uuid::now_v7();
    let reply: NoSuchOrder = harness
        .bus()
        .request(&OrderPaid { order_id })
        .await
        .unwrap();
    assert_eq!(reply.order_id, order_id);
    harness.shutdown().await.unwrap();
}
