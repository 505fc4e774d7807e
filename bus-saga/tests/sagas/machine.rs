//! Machines without a bus.

use std::time::Duration;

use bus_core::error::FailureKind;
use bus_core::{ConsumeError, ConsumeResult, Message};
use bus_saga::{Activity, On, Saga, SagaError, SagaState, StateMachine, Step, Unexpected, by};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::{
    Order, OrderCancelled, OrderCompleted, OrderPaid, PATIENCE, PaymentOverdue, ShipOrder, Stage,
    order_saga, placed, shipped,
};

#[test]
fn an_order_goes_its_way() {
    let mut orders = order_saga().trial();
    let order_id = Uuid::now_v7();
    let effects = orders.on(&placed(order_id, "A-7")).unwrap();
    assert_eq!(orders.state(order_id), Some(Stage::AwaitingPayment));
    assert_eq!(effects.scheduled::<PaymentOverdue>(), Some(PATIENCE));
    let effects = orders.on(&OrderPaid { order_id }).unwrap();
    assert_eq!(effects.published::<ShipOrder>()[0].number, "A-7");
    assert_eq!(orders.state(order_id), Some(Stage::AwaitingShipment));
    let effects = orders.on(&shipped("A-7")).unwrap();
    assert_eq!(effects.published::<OrderCompleted>()[0].number, "A-7");
    assert!(orders.is_finished(order_id));
    assert_eq!(orders.state(order_id), None);
}

#[test]
fn a_timeout_fires_unless_it_was_cancelled() {
    let mut orders = order_saga().trial();
    let [late, paid] = [Uuid::now_v7(), Uuid::now_v7()];
    orders.on(&placed(late, "A-7")).unwrap();
    orders.on(&placed(paid, "A-8")).unwrap();
    orders.on(&OrderPaid { order_id: paid }).unwrap();
    let effects = orders.fire(late, &PaymentOverdue {}).unwrap();
    assert_eq!(effects.published::<OrderCancelled>().len(), 1);
    assert!(orders.is_finished(late));
    assert!(orders.fire(paid, &PaymentOverdue {}).unwrap().is_empty());
    assert_eq!(orders.state(paid), Some(Stage::AwaitingShipment));
}

#[test]
fn what_comes_too_early_waits_for_its_state() {
    let mut orders = order_saga().trial();
    let order_id = Uuid::now_v7();
    orders.on(&placed(order_id, "A-7")).unwrap();
    assert!(orders.on(&shipped("A-7")).unwrap().is_empty());
    assert_eq!(orders.state(order_id), Some(Stage::AwaitingPayment));
    let effects = orders.on(&OrderPaid { order_id }).unwrap();
    assert_eq!(effects.published::<ShipOrder>().len(), 1);
    assert_eq!(effects.published::<OrderCompleted>().len(), 1);
    assert!(orders.is_finished(order_id));
}

#[test]
fn no_more_than_100_events_wait() {
    let mut orders = order_saga().trial();
    orders.on(&placed(Uuid::now_v7(), "A-7")).unwrap();
    for _ in 0..100 {
        orders.on(&shipped("A-7")).unwrap();
    }
    let error = orders.on(&shipped("A-7")).unwrap_err();
    assert!(error.is_permanent());
    assert!(matches!(
        error.find(),
        Some(SagaError::PostponesTooMuch { .. })
    ));
}

#[test]
fn late_and_repeated_events_change_nothing() {
    let mut orders = order_saga().trial();
    let order_id = Uuid::now_v7();
    orders.on(&placed(order_id, "A-7")).unwrap();
    assert!(orders.on(&placed(order_id, "A-9")).unwrap().is_empty());
    assert_eq!(orders.data(order_id).unwrap().number, "A-7");
    orders.fire(order_id, &PaymentOverdue {}).unwrap();
    assert!(orders.on(&OrderPaid { order_id }).unwrap().is_empty());
    assert!(orders.is_finished(order_id));
}

#[test]
fn an_event_that_begins_nothing_fails_and_may_be_retried() {
    let mut orders = order_saga().trial();
    let order_id = Uuid::now_v7();
    let error = orders.on(&OrderPaid { order_id }).unwrap_err();
    assert!(!error.is_permanent());
    assert!(matches!(error.find(), Some(SagaError::Missing { .. })));
    assert_eq!(orders.state(order_id), None);
}

#[derive(Serialize, Deserialize, Message)]
#[message("Bank:Deposited")]
struct Deposited {
    account: Uuid,
    amount: i64,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Bank:Closed")]
struct Closed {
    account: Uuid,
}

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Standing {
    Good,
    Overdrawn,
}

impl Saga for Account {
    type State = Standing;
    const NAME: &'static str = "account";
}

/// An activity that is ready at once.
struct Add;

impl Activity<Account, Deposited> for Add {
    async fn run(&self, step: &mut Step<'_, Account, Deposited>) -> ConsumeResult {
        step.data.balance += step.message.amount;
        Ok(())
    }
}

fn account_saga(choice: fn(&Account, &Deposited) -> Standing) -> StateMachine<Account> {
    let mut saga = StateMachine::<Account>::new();
    let deposited = saga.event(by::id(|it: &Deposited| it.account));
    let closed = saga.event(by::id(|it: &Closed| it.account));
    saga.initially(deposited, |on| on.activity(Add).go(Standing::Good))
        .during(Standing::ALL, deposited, |on| {
            on.when(|_, it| it.amount == 0).stay()
        })
        .during(Standing::ALL, deposited, move |on| {
            on.activity(Add)
                .go_to([Standing::Good, Standing::Overdrawn], choice)
        })
        .during(Standing::Good, closed, On::finish)
        .unexpected(Unexpected::Fault);
    saga
}

fn by_balance(account: &Account, _: &Deposited) -> Standing {
    if account.balance < 0 {
        Standing::Overdrawn
    } else {
        Standing::Good
    }
}

#[test]
fn the_first_reaction_whose_condition_holds_runs() {
    let mut accounts = account_saga(by_balance).trial();
    let account = Uuid::now_v7();
    let mut deposit = |amount| {
        accounts.on(&Deposited { account, amount }).unwrap();
        (
            accounts.state(account).unwrap(),
            accounts.data(account).unwrap().balance,
        )
    };
    assert_eq!(deposit(5), (Standing::Good, 5));
    assert_eq!(deposit(-9), (Standing::Overdrawn, -4));
    assert_eq!(deposit(0), (Standing::Overdrawn, -4));
    assert_eq!(deposit(4), (Standing::Good, 0));
}

#[test]
fn activities_and_conditions_are_in_the_diagram() {
    let picture = account_saga(by_balance).mermaid();
    assert!(
        picture.contains("[*] --> Good: Deposited / Add\n"),
        "{picture}"
    );
    assert!(
        picture.contains("Good --> Overdrawn: Deposited / Add\n"),
        "{picture}"
    );
    assert!(
        picture.contains("Good --> Good: Deposited (on a condition)\n"),
        "{picture}"
    );
}

#[test]
fn an_event_in_the_wrong_state_fails() {
    let mut accounts = account_saga(by_balance).trial();
    let account = Uuid::now_v7();
    accounts.on(&Deposited { account, amount: 1 }).unwrap();
    accounts
        .on(&Deposited {
            account,
            amount: -2,
        })
        .unwrap();
    let error = accounts.on(&Closed { account }).unwrap_err();
    let text = "saga `account`: Closed is not expected in state Overdrawn of ";
    assert!(error.to_string().starts_with(text), "{error}");
    assert!(!error.is_permanent());
}

/// Changes the data, sends something, and fails.
struct Fail(fn() -> ConsumeError);

impl Activity<Account, Deposited> for Fail {
    async fn run(&self, step: &mut Step<'_, Account, Deposited>) -> ConsumeResult {
        step.data.balance = 99;
        step.publish(Closed { account: step.id() });
        Err(self.0())
    }
}

fn failing(error: fn() -> ConsumeError) -> StateMachine<Account> {
    let mut saga = StateMachine::<Account>::new();
    let deposited = saga.event(by::id(|it: &Deposited| it.account));
    saga.initially(deposited, |on| on.activity(Add).go(Standing::Good))
        .during(Standing::Good, deposited, |on| {
            on.activity(Fail(error)).finish().or_else(|on| {
                on.then(|step| {
                    let is_known = step.error().is_some_and(|it| it.to_string() == "refused");
                    step.data.balance += i64::from(is_known);
                    step.publish(Deposited {
                        account: step.id(),
                        amount: 0,
                    });
                    Ok(())
                })
                .go(Standing::Overdrawn)
            })
        })
        .ignore(Standing::Overdrawn, deposited)
        .rests_in(Standing::Overdrawn);
    saga
}

#[test]
fn a_step_that_fails_may_lead_elsewhere() {
    let errors: [fn() -> ConsumeError; 2] =
        [|| "refused".into(), || ConsumeError::permanent("refused")];
    for error in errors {
        let saga = failing(error);
        assert_eq!(saga.mistakes(), Vec::<String>::new());
        let arrow = "Good --> Overdrawn: Deposited (on failure)\n";
        assert!(saga.mermaid().contains(arrow));
        let mut accounts = saga.trial();
        let account = Uuid::now_v7();
        accounts.on(&Deposited { account, amount: 5 }).unwrap();
        let effects = accounts.on(&Deposited { account, amount: 7 }).unwrap();
        assert_eq!(accounts.state(account), Some(Standing::Overdrawn));
        assert_eq!(accounts.data(account).unwrap().balance, 6);
        assert!(effects.published::<Closed>().is_empty());
        assert_eq!(effects.published::<Deposited>().len(), 1);
    }
}

#[test]
fn an_attempt_that_is_to_run_again_leads_nowhere() {
    let mut accounts = failing(|| ConsumeError::conflict("meanwhile")).trial();
    let account = Uuid::now_v7();
    accounts.on(&Deposited { account, amount: 5 }).unwrap();
    let error = accounts.on(&Deposited { account, amount: 7 }).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Conflict);
    assert_eq!(accounts.state(account), Some(Standing::Good));
}

#[test]
fn a_choice_among_others_is_refused() {
    let mut saga = StateMachine::<Account>::new();
    let deposited = saga.event(by::id(|it: &Deposited| it.account));
    saga.initially(deposited, |on| {
        on.go_to(Standing::Good, |_, _| Standing::Overdrawn)
    });
    let mut accounts = saga.trial();
    let account = Uuid::now_v7();
    let error = accounts.on(&Deposited { account, amount: 1 }).unwrap_err();
    assert!(error.is_permanent());
    assert_eq!(accounts.state(account), None);
}

#[test]
fn a_timeout_may_take_its_time_from_the_message() {
    let mut saga = StateMachine::<Order>::new();
    let start = saga.event(by::id(|it: &crate::order::OrderPlaced| it.order_id));
    let overdue = saga.timeout::<PaymentOverdue>();
    saga.initially(start, |on| {
        on.schedule_in(overdue, |_, placed| {
            let days = placed.number.len() as u64;
            (Duration::from_secs(days), PaymentOverdue {})
        })
        .go(Stage::AwaitingPayment)
    });
    let effects = saga.trial().on(&placed(Uuid::now_v7(), "abc")).unwrap();
    let wait = effects.scheduled::<PaymentOverdue>();
    assert_eq!(wait, Some(Duration::from_secs(3)));
}
