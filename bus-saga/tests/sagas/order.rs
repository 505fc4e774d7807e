//! The saga of an order, for most of the tests.

use std::time::Duration;

use bus_core::{Endpoint, Message};
use bus_inmemory::Harness;
use bus_saga::{MemorySagas, Saga, SagaState, Sagas, Snapshot, StateMachine, by};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Shop:OrderPlaced")]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) number: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
pub(crate) struct OrderPaid {
    pub(crate) order_id: Uuid,
}

/// Another service knows the number only.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Shop:OrderShipped")]
pub(crate) struct OrderShipped {
    pub(crate) number: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Shop:PaymentOverdue")]
pub(crate) struct PaymentOverdue {}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Shop:ShipOrder")]
pub(crate) struct ShipOrder {
    pub(crate) number: String,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Shop:OrderCancelled")]
pub(crate) struct OrderCancelled {
    pub(crate) number: String,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Shop:OrderCompleted")]
pub(crate) struct OrderCompleted {
    pub(crate) number: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
pub(crate) enum Stage {
    AwaitingPayment,
    AwaitingShipment,
}

impl Saga for Order {
    type State = Stage;
    const NAME: &'static str = "order";
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

pub(crate) fn order_saga() -> StateMachine<Order> {
    use Stage::{AwaitingPayment, AwaitingShipment};
    let mut saga = StateMachine::<Order>::new();
    let number = saga.key("number", |order: &Order| Some(order.number.clone()));
    let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    let paid = saga.event(by::id(|it: &OrderPaid| it.order_id));
    let shipped = saga.event(number.of(|it: &OrderShipped| it.number.clone()));
    let overdue = saga.timeout::<PaymentOverdue>();

    saga.initially(placed, |on| {
        on.set(|order, placed| order.number.clone_from(&placed.number))
            .schedule(overdue, PATIENCE, |_, _| PaymentOverdue {})
            .go(AwaitingPayment)
    })
    .during(AwaitingPayment, paid, |on| {
        on.unschedule(overdue)
            .publish(|order, _| ShipOrder {
                number: order.number.clone(),
            })
            .go(AwaitingShipment)
    })
    .during(AwaitingPayment, overdue.fired, |on| {
        on.publish(|order, _| OrderCancelled {
            number: order.number.clone(),
        })
        .finish()
    })
    .during(AwaitingShipment, shipped, |on| {
        on.publish(|order, _| OrderCompleted {
            number: order.number.clone(),
        })
        .finish()
    })
    .postpone(AwaitingPayment, shipped)
    .ignore(AwaitingShipment, paid)
    .ignore_everywhere(placed);
    saga
}

pub(crate) fn placed(order_id: Uuid, number: &str) -> OrderPlaced {
    let number = number.to_owned();
    OrderPlaced { order_id, number }
}

pub(crate) fn shipped(number: &str) -> OrderShipped {
    let number = number.to_owned();
    OrderShipped { number }
}

/// A bus with one saga, and its instances.
pub(crate) async fn start<S: Saga>(machine: StateMachine<S>) -> (Harness, Sagas<S>) {
    let sagas = MemorySagas::new();
    let endpoint = machine.stored_in(sagas.clone()).on(Endpoint::new("orders"));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    (harness, Sagas::of(sagas))
}

/// An instance that is there.
pub(crate) async fn find<S: Saga>(sagas: &Sagas<S>, id: Uuid) -> Snapshot<S> {
    sagas.find(id).await.unwrap().expect("an instance")
}
