//! Concurrent events of one instance of a saga, in several processes: no update is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bus_core::{Bus, ConsumeResult, Endpoint, Retry};
use bus_saga::{Activity, Saga, SagaState, Sagas, StateMachine, Step, by};
use bus_sql::sqlx::Postgres;
use bus_sql::{Sql, SqlSagas};
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, eventually, numbers};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::databases::{Fixture, TestDatabase, on_each_database, stop_unfailed};

on_each_database! {
    locked_events_of_many_processes_lose_no_update,
    optimistic_events_of_many_processes_lose_no_update,
}

/// The instance of all events.
const COUNTER: Uuid = Uuid::from_u128(7);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    numbers: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Only {
    Open,
}

impl Saga for Counter {
    type State = Only;
    const NAME: &'static str = "counter";
}

/// Counts each run, and lets the first two meet.
#[derive(Clone)]
struct Meet {
    runs: Arc<AtomicUsize>,
    meeting: Arc<Barrier>,
}

impl Meet {
    fn of(count: usize) -> Self {
        Self {
            runs: Arc::default(),
            meeting: Arc::new(Barrier::new(count)),
        }
    }
}

impl Activity<Counter, Place> for Meet {
    async fn run(&self, step: &mut Step<'_, Counter, Place>) -> ConsumeResult {
        if self.runs.fetch_add(1, SeqCst) < 2 {
            self.meeting.wait().await;
        }
        step.data.numbers.push(step.message.number);
        step.publish(Ordered {
            number: step.message.number,
        });
        Ok(())
    }
}

fn counting(meet: &Meet) -> StateMachine<Counter> {
    let mut saga = StateMachine::<Counter>::new();
    let placed = saga.event(by::id(|_: &Place| COUNTER));
    let [first, later] = [meet.clone(), meet.clone()];
    saga.initially(placed, |on| on.activity(first).go(Only::Open))
        .during(Only::Open, placed, |on| on.activity(later).stay())
        .rests_in(Only::Open);
    saga
}

async fn start<DB: TestDatabase>(
    broker: &dyn TestBroker,
    db: &Fixture<DB>,
    repository: fn(&Sql<DB>) -> SqlSagas<DB>,
    meet: &Meet,
) -> Bus {
    let sql = DB::again(db).await;
    // Not so many that the connections of a pool do not do.
    let endpoint = Endpoint::new(broker.name("counter")).concurrency(4);
    let endpoint = endpoint.retry(Retry::interval(100, Duration::from_millis(20)));
    let endpoint = counting(meet).stored_in(repository(&sql)).on(endpoint);
    let bus = broker.bus().background(sql.relay()).endpoint(endpoint);
    bus.start().await.unwrap()
}

/// Counts to 60 in three processes; returns how often a reaction ran.
async fn count<DB: TestDatabase>(repository: fn(&Sql<DB>) -> SqlSagas<DB>, meet: Meet) -> usize {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    db.sql.migrate().await.unwrap();
    let ordered = Recorder::<Ordered>::new();
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let audit = broker.start(audit).await.unwrap();
    let mut buses = Vec::new();
    for _ in 0..3 {
        buses.push(start(broker, &db, repository, &meet).await);
    }
    for number in 0..60 {
        audit.publish(&Place { number }).await.unwrap();
    }
    let all: Vec<_> = (0..60).collect();
    assert_eq!(numbers(&ordered.take(60).await), all);
    for bus in buses {
        stop_unfailed(broker, "counter", bus).await;
    }
    audit.shutdown().await.unwrap();
    let counters = Sagas::<Counter>::of(db.sql.sagas());
    let counter = counters.find(COUNTER).await.unwrap().unwrap();
    let mut found = counter.data.numbers;
    found.sort_unstable();
    assert_eq!((found, counter.revision), (all, 60));
    assert_eq!(db.rows("inbox").await, 60);
    assert_eq!(db.rows("outbox").await, 0);
    assert_eq!(ordered.calls(), 60, "a loser has sent nothing");
    meet.runs.load(SeqCst)
}

async fn locked_events_of_many_processes_lose_no_update<DB: TestDatabase>() {
    assert!(count::<DB>(Sql::sagas, Meet::of(1)).await >= 60);
}

async fn optimistic_events_of_many_processes_lose_no_update<DB: TestDatabase>() {
    let runs = count::<DB>(|sql| sql.sagas().optimistic(), Meet::of(1)).await;
    assert!(runs >= 60);
}

/// Both begin the instance: there is one in the end, and both have changed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_beginnings_at_once_one_runs_again() {
    let runs = count::<Postgres>(Sql::sagas, Meet::of(2)).await;
    assert!(runs > 60, "they have met, and one has run again");
}

/// Both change an instance that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_changes_at_once_one_runs_again() {
    let (broker, db) = (InMemoryTestBroker::new(), Postgres::open().await);
    let broker: &dyn TestBroker = &broker;
    let begun = start(broker, &db, Sql::sagas, &Meet::of(1)).await;
    begun.publish(&Place { number: 1 }).await.unwrap();
    let counters = Sagas::<Counter>::of(db.sql.sagas());
    let has = async |count| {
        let counter = counters.find(COUNTER).await.unwrap();
        counter.is_some_and(|counter| counter.data.numbers.len() == count)
    };
    eventually("it has begun", async || has(1).await).await;
    begun.shutdown().await.unwrap();
    let meet = Meet::of(2);
    let bus = start(broker, &db, |sql| sql.sagas().optimistic(), &meet).await;
    bus.publish(&Place { number: 2 }).await.unwrap();
    bus.publish(&Place { number: 3 }).await.unwrap();
    eventually("both are there", async || has(3).await).await;
    assert!(meet.runs.load(SeqCst) > 2, "one has run again");
    stop_unfailed(broker, "counter", bus).await;
}
