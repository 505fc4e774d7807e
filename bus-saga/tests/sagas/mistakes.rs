//! Mistakes of machines, each reported before a bus connects.

use bus_core::{Endpoint, Message};
use bus_inmemory::Harness;
use bus_saga::{MemorySagas, On, Saga, SagaState, StateMachine, Unexpected, by};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{OrderPaid, OrderPlaced, PATIENCE, PaymentOverdue, order_saga};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:CheckStock")]
struct CheckStock {}

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:StockLevels")]
struct StockLevels {}

#[derive(Default, Serialize, Deserialize)]
struct Two {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Light {
    Red,
    Green,
}
use Light::{Green, Red};

impl Saga for Two {
    type State = Light;
    const NAME: &'static str = "two";
}

/// From `Red` to `Green` to the end, both by the second event.
fn two() -> (
    StateMachine<Two>,
    bus_saga::Event<Two, OrderPlaced>,
    bus_saga::Event<Two, OrderPaid>,
) {
    let mut saga = StateMachine::<Two>::new();
    let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    let paid = saga.event(by::id(|it: &OrderPaid| it.order_id));
    saga.initially(placed, |on| on.go(Red))
        .during(Red, paid, |on| on.go(Green))
        .during(Green, paid, On::finish)
        .ignore_everywhere(placed);
    (saga, placed, paid)
}

fn assert_mistakes(saga: &StateMachine<Two>, expected: &[&str]) {
    assert_eq!(saga.mistakes(), expected);
}

#[test]
fn a_machine_without_mistakes_has_none() {
    assert_eq!(order_saga().mistakes(), Vec::<String>::new());
    assert_mistakes(&two().0, &[]);
}

#[test]
fn an_event_that_a_state_forgets() {
    let (mut saga, ..) = two();
    let late = saga.event(by::id(|_: &CheckStock| Uuid::now_v7()));
    saga.ignore(Red, late)
        .during(Green, late, |on| on.when(|_, _| true).stay());
    assert_mistakes(
        &saga,
        &[
            "CheckStock in Green has reactions with conditions only: add one without, or ignore or postpone it",
        ],
    );
    let (mut saga, ..) = two();
    let late = saga.event(by::id(|_: &CheckStock| Uuid::now_v7()));
    saga.during(Red, late, On::stay);
    assert_mistakes(
        &saga,
        &["CheckStock in Green: handle, ignore or postpone it"],
    );
    saga.unexpected(Unexpected::Fault);
    assert_mistakes(&saga, &[]);
}

#[test]
fn two_reactions_without_a_condition() {
    let (mut saga, _, paid) = two();
    saga.during(Red, paid, On::stay);
    assert_mistakes(
        &saga,
        &["OrderPaid in Red: a reaction follows one without a condition, so it never runs"],
    );
}

#[test]
fn a_reaction_to_an_event_that_is_ignored() {
    let (mut saga, _, paid) = two();
    saga.postpone(Green, paid);
    assert_mistakes(
        &saga,
        &["OrderPaid in Green is handled, and ignored or postponed too"],
    );
}

#[test]
fn a_state_without_a_way_in_or_out() {
    let mut saga = StateMachine::<Two>::new();
    let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    saga.initially(placed, |on| on.go(Green))
        .ignore_everywhere(placed);
    let stuck =
        "nothing leaves the state Green: lead on from it, finish in it, or name it by rests_in";
    let red = "nothing leaves the state Red: lead on from it, finish in it, or name it by rests_in";
    assert_mistakes(&saga, &["nothing leads to the state Red", red, stuck]);
    saga.rests_in(Light::ALL);
    assert_mistakes(&saga, &["nothing leads to the state Red"]);
}

#[test]
fn an_event_without_use_and_a_machine_without_a_beginning() {
    let mut saga = StateMachine::<Two>::new();
    let _ = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    saga.unexpected(Unexpected::Ignore).rests_in(Light::ALL);
    assert_mistakes(
        &saga,
        &[
            "no event begins an instance: add one by initially",
            "no state handles OrderPlaced",
            "nothing leads to the state Red",
            "nothing leads to the state Green",
        ],
    );
}

#[test]
fn a_beginning_that_leads_nowhere() {
    let (mut saga, ..) = two();
    let other = saga.event(by::id(|_: &CheckStock| Uuid::now_v7()));
    saga.initially(other, On::stay).ignore_everywhere(other);
    assert_mistakes(
        &saga,
        &["CheckStock begins an instance, and must lead to a state or finish"],
    );
}

#[test]
fn two_events_of_one_message() {
    let (mut saga, ..) = two();
    let again = saga.event(by::id(|it: &OrderPaid| it.order_id));
    saga.in_any_state(again, On::stay);
    assert_mistakes(
        &saga,
        &["two events are the message Shop:OrderPaid: declare one, and give it conditions by when"],
    );
}

#[test]
fn a_timeout_that_never_starts_or_still_runs() {
    let (mut saga, _, paid) = two();
    let overdue = saga.timeout::<PaymentOverdue>();
    saga.during(Red, overdue.fired, On::finish);
    assert_mistakes(&saga, &["PaymentOverdue is never scheduled"]);

    let mut saga = StateMachine::<Two>::new();
    let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    let overdue = saga.timeout::<PaymentOverdue>();
    let later = saga.event(by::id(|it: &OrderPaid| it.order_id));
    let _ = paid;
    saga.initially(placed, |on| {
        on.schedule(overdue, PATIENCE, |_, _| PaymentOverdue {})
            .go(Red)
    })
    .during(Red, later, |on| on.go(Green))
    .during(Red, overdue.fired, On::finish)
    .during(Green, later, On::finish)
    .ignore_everywhere(placed);
    assert_mistakes(
        &saga,
        &[
            "PaymentOverdue may still come in Green: handle, ignore or postpone it there, or end it on the way",
        ],
    );
    saga.ignore(Green, overdue.fired);
    assert_mistakes(&saga, &[]);
}

#[test]
fn the_outcome_of_a_request_that_a_state_forgets() {
    let (mut saga, _, _) = two();
    let stock = saga.request::<CheckStock, StockLevels>();
    let begin = saga.event(by::id(|_: &StockLevelsWanted| Uuid::now_v7()));
    saga.initially(begin, |on| {
        on.request(stock, PATIENCE, |_, _| CheckStock {}).go(Red)
    })
    .ignore_everywhere(begin)
    .during(Red, stock.completed, On::stay)
    .ignore(Green, [stock.completed.any(), stock.faulted.any()])
    .ignore_everywhere(stock.timed_out);
    assert_mistakes(
        &saga,
        &[
            "CheckStock faulted may still come in Red: handle, ignore or postpone it there, or end it on the way",
        ],
    );
}

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:StockLevelsWanted")]
struct StockLevelsWanted {}

#[test]
fn an_address_that_cannot_be_read_and_a_key_that_is_there_twice() {
    let (mut saga, _, _) = two();
    let other = saga.event(by::id(|_: &CheckStock| Uuid::now_v7()));
    saga.in_any_state(other, |on| {
        on.send_to("nowhere:x", |_, _| StockLevels {}).stay()
    });
    saga.key("number", |_| None::<String>);
    saga.key("number", |_| None::<String>);
    let mistakes = saga.mistakes();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes.iter().any(|it| it.starts_with("CheckStock: ")));
    assert!(mistakes.iter().any(|it| it.contains("the key `number`")));
}

#[test]
fn a_token_of_another_machine() {
    let (_, _, paid) = two();
    let mut saga = StateMachine::<Two>::new();
    let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    saga.initially(placed, On::finish)
        .during(Red, paid, On::finish)
        .ignore_everywhere(placed)
        .rests_in(Light::ALL);
    let foreign = "an event of another machine is used; each machine has events of its own";
    assert_eq!(saga.mistakes()[0], foreign);
}

#[tokio::test(start_paused = true)]
async fn a_bus_with_a_mistake_does_not_connect() {
    let (mut saga, _, paid) = two();
    saga.postpone(Green, paid);
    let endpoint = saga
        .stored_in(MemorySagas::new())
        .on(Endpoint::new("orders"));
    let error = Harness::start(|bus| bus.endpoint(endpoint))
        .await
        .unwrap_err();
    let text = "endpoint `orders`: saga `two`: OrderPaid in Green is handled, and ignored or postponed too";
    assert!(error.to_string().contains(text), "{error}");
}
