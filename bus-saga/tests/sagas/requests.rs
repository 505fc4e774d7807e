//! Requests of a saga to other services.

use std::time::Duration;

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use bus_saga::{MemorySagas, RequestTimedOut, Saga, SagaState, Sagas, StateMachine, by};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::order::find;

#[derive(Serialize, Deserialize, Message)]
#[message("Loans:Applied")]
struct Applied {
    loan: Uuid,
    name: String,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Loans:RateCustomer")]
struct RateCustomer {
    name: String,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Loans:CustomerRated")]
struct CustomerRated {
    score: u32,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Loans:HowIsIt")]
struct HowIsIt {
    loan: Uuid,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Loans:LoanStatus")]
struct LoanStatus {
    state: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Loan {
    outcome: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Review {
    Rating,
    Decided,
}

impl Saga for Loan {
    type State = Review;
    const NAME: &'static str = "loan";
}

const PATIENCE: Duration = Duration::from_secs(60);

fn loans() -> StateMachine<Loan> {
    use Review::{Decided, Rating};
    let mut saga = StateMachine::<Loan>::new();
    let applied = saga.event(by::id(|it: &Applied| it.loan));
    let asked = saga.event(by::id(|it: &HowIsIt| it.loan));
    let rating = saga.request::<RateCustomer, CustomerRated>();
    saga.initially(applied, |on| {
        on.request(rating, PATIENCE, |_, applied| RateCustomer {
            name: applied.name.clone(),
        })
        .go(Rating)
    })
    .during(Rating, rating.completed, |on| {
        on.set(|loan, rated| loan.outcome = rated.score.to_string())
            .go(Decided)
    })
    .during(Rating, rating.faulted, |on| {
        on.set(|loan, fault| loan.outcome.clone_from(&fault.exceptions[0].message))
            .go(Decided)
    })
    .during(Rating, rating.timed_out, |on| {
        on.set(|loan, _| loan.outcome.push_str("late")).go(Decided)
    })
    .in_any_state(asked, |on| {
        on.then(|step| {
            let state = step.state().map_or("none", SagaState::name).to_owned();
            step.respond(LoanStatus { state });
            Ok(())
        })
        .stay()
    })
    .ignore_everywhere(applied)
    .rests_in(Decided);
    saga
}

async fn rate(ctx: ConsumeContext<RateCustomer>) -> ConsumeResult {
    match ctx.message().name.as_str() {
        "slow" => tokio::time::sleep(PATIENCE * 2).await,
        "unknown" => return Err(ConsumeError::permanent("no such customer")),
        _ => {}
    }
    ctx.respond(&CustomerRated { score: 7 }).await?;
    Ok(())
}

async fn start() -> (Harness, Sagas<Loan>) {
    let sagas = MemorySagas::new();
    let endpoint = loans().stored_in(sagas.clone()).on(Endpoint::new("loans"));
    let rating = Endpoint::new("rating").consumer(rate);
    let harness = Harness::start(|bus| bus.endpoint(endpoint).endpoint(rating))
        .await
        .unwrap();
    (harness, Sagas::of(sagas))
}

/// The outcome of a loan, once all timers have ended.
async fn outcome(name: &str) -> String {
    let (harness, loans) = start().await;
    let loan = Uuid::now_v7();
    let name = name.to_owned();
    harness.publish(&Applied { loan, name }).await.unwrap();
    tokio::time::sleep(PATIENCE * 3).await;
    harness.quiescent().await;
    let found = find(&loans, loan).await;
    assert_eq!(found.state, Some(Review::Decided));
    assert_eq!(found.revision, 2, "what comes later changes nothing");
    assert!(harness.faulted::<CustomerRated>().none());
    assert!(harness.faulted::<RequestTimedOut<RateCustomer>>().none());
    harness.shutdown().await.unwrap();
    found.data.outcome
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_an_event() {
    assert_eq!(outcome("known").await, "7");
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_an_event() {
    assert_eq!(outcome("unknown").await, "no such customer");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_comes_too_late_is_none() {
    assert_eq!(outcome("slow").await, "late");
}

#[tokio::test(start_paused = true)]
async fn another_service_asks_for_the_state() {
    let (harness, _) = start().await;
    let loan = Uuid::now_v7();
    let name = "slow".to_owned();
    harness.publish(&Applied { loan, name }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status: LoanStatus = harness.bus().request(&HowIsIt { loan }).await.unwrap();
    assert_eq!(status.state, "Rating");
    tokio::time::sleep(PATIENCE).await;
    let status: LoanStatus = harness.bus().request(&HowIsIt { loan }).await.unwrap();
    assert_eq!(status.state, "Decided");
    // The service that was asked answers at last.
    tokio::time::sleep(PATIENCE).await;
    harness.quiescent().await;
    harness.shutdown().await.unwrap();
}

#[derive(Default, Serialize, Deserialize)]
struct Decision {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Open {
    Undecided,
}

impl Saga for Decision {
    type State = Open;
    const NAME: &'static str = "decision";
}

/// Decides a loan, or lets its time run out; the applicant hears of both.
fn decisions() -> StateMachine<Decision> {
    let mut saga = StateMachine::<Decision>::new();
    let applied = saga.event(by::id(|it: &Applied| it.loan));
    let asked = saga.event(by::id(|it: &HowIsIt| it.loan));
    let late = saga.timeout::<CustomerRated>();
    let status = |state: &str| LoanStatus {
        state: state.to_owned(),
    };
    saga.initially(applied, |on| {
        on.keep_requester()
            .schedule(late, PATIENCE, |_, _| CustomerRated { score: 0 })
            .go(Open::Undecided)
    })
    .during(Open::Undecided, asked, move |on| {
        on.respond(move |_, _| status("asked"))
            .respond_later(move |_, _| status("decided"))
            .finish()
    })
    .during(Open::Undecided, late.fired, move |on| {
        on.respond_later(move |_, _| status("late")).finish()
    })
    .ignore_everywhere(applied);
    saga
}

#[tokio::test(start_paused = true)]
async fn the_requester_of_an_earlier_event_gets_its_response() {
    let endpoint = decisions().stored_in(MemorySagas::new());
    let endpoint = endpoint.on(Endpoint::new("loans"));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    let [decided, late] = [Uuid::now_v7(), Uuid::now_v7()];
    let ask = |loan| {
        let name = "known".to_owned();
        let asking = harness.bus().request::<LoanStatus>(&Applied { loan, name });
        tokio::spawn(asking.deadline(PATIENCE * 2).into_future())
    };
    let [first, second] = [ask(decided), ask(late)];
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Another requester, who gets a response of its own.
    let question = HowIsIt { loan: decided };
    let other: LoanStatus = harness.bus().request(&question).await.unwrap();
    assert_eq!(other.state, "asked");
    assert_eq!(first.await.unwrap().unwrap().state, "decided");
    assert_eq!(second.await.unwrap().unwrap().state, "late");
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_gets_its_own_response_and_none_that_was_given_later() {
    let endpoint = Endpoint::new("loans").idempotency(MemoryIdempotencyStore::new());
    let endpoint = decisions().stored_in(MemorySagas::new()).on(endpoint);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    let loan = Uuid::now_v7();
    let name = "known".to_owned();
    let asking = harness.bus().request::<LoanStatus>(&Applied { loan, name });
    let first = tokio::spawn(asking.into_future());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let id = Uuid::now_v7();
    for _ in 0..2 {
        let asking = harness.bus().request(&HowIsIt { loan }).message_id(id);
        let status: LoanStatus = asking.await.unwrap();
        assert_eq!(status.state, "asked");
    }
    assert_eq!(first.await.unwrap().unwrap().state, "decided");
    harness.quiescent().await;
    assert_eq!(harness.responded::<LoanStatus>().count(), 3);
    harness.shutdown().await.unwrap();
}

#[test]
fn a_trial_shows_a_response_that_is_given_later() {
    let mut loans = decisions().trial();
    let loan = Uuid::now_v7();
    let name = "known".to_owned();
    loans.on(&Applied { loan, name }).unwrap();
    let effects = loans.fire(loan, &CustomerRated { score: 0 }).unwrap();
    assert_eq!(effects.responded::<LoanStatus>()[0].state, "late");
}
