//! Requests of a saga to other services.

use std::time::Duration;

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
