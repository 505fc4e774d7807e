//! Events that come at once.

use std::sync::{Arc, Mutex};

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use bus_saga::{Activity, MemorySagas, Saga, SagaState, Sagas, StateMachine, Step, by};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::order::find;

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Counting:Counted")]
struct Counted {
    counter: Uuid,
    number: u32,
}

#[derive(Debug, Serialize, Deserialize, Message)]
#[message("Counting:Noted")]
struct Noted {
    counter: Uuid,
}

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

/// Reads, lets others run, and writes: what another has written meanwhile would be lost.
struct Slowly;

impl Activity<Counter, Counted> for Slowly {
    async fn run(&self, step: &mut Step<'_, Counter, Counted>) -> ConsumeResult {
        let mut numbers = step.data.numbers.clone();
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        numbers.push(step.message.number);
        step.data.numbers = numbers;
        Ok(())
    }
}

/// Waits for one instance, until it is let go.
struct Hold(Uuid, Arc<Notify>);

impl Activity<Counter, Counted> for Hold {
    async fn run(&self, step: &mut Step<'_, Counter, Counted>) -> ConsumeResult {
        if step.id() == self.0 {
            self.1.notified().await;
        }
        Ok(())
    }
}

fn counting(held: Uuid, go: &Arc<Notify>) -> StateMachine<Counter> {
    let mut saga = StateMachine::<Counter>::new();
    let counted = saga.event(by::id(|it: &Counted| it.counter));
    let holding = || Hold(held, Arc::clone(go));
    let noted = |_: &Counter, it: &Counted| Noted {
        counter: it.counter,
    };
    saga.initially(counted, |on| {
        on.activity(holding())
            .activity(Slowly)
            .publish(noted)
            .go(Only::Open)
    })
    .during(Only::Open, counted, |on| {
        on.activity(holding())
            .activity(Slowly)
            .publish(noted)
            .stay()
    })
    .rests_in(Only::Open);
    saga
}

async fn start(held: Uuid, go: &Arc<Notify>) -> (Harness, Sagas<Counter>) {
    let sagas = MemorySagas::new();
    let endpoint = Endpoint::new("counters").concurrency(16);
    let endpoint = counting(held, go).stored_in(sagas.clone()).on(endpoint);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    (harness, Sagas::of(sagas))
}

#[tokio::test(start_paused = true)]
async fn concurrent_events_of_one_instance_lose_no_update() {
    let (harness, counters) = start(Uuid::nil(), &Arc::default()).await;
    let counter = Uuid::now_v7();
    for number in 0..100 {
        harness.publish(&Counted { counter, number }).await.unwrap();
    }
    harness.quiescent().await;
    let found = find(&counters, counter).await;
    let mut numbers = found.data.numbers;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    assert_eq!(found.revision, 100);
    assert_eq!(harness.published::<Noted>().count(), 100);
    harness.shutdown().await.unwrap();
}

/// Keeps the contexts of all events.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<ConsumeContext>>>);

impl Activity<Counter, Counted> for Keep {
    async fn run(&self, step: &mut Step<'_, Counter, Counted>) -> ConsumeResult {
        self.0.lock().unwrap().extend(step.context().cloned());
        step.data.numbers.push(step.message.number);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_context_that_is_kept_locks_nothing() {
    let kept = Keep::default();
    let mut saga = StateMachine::<Counter>::new();
    let event = saga.event(by::id(|it: &Counted| it.counter));
    let [first, later] = [kept.clone(), kept.clone()];
    saga.initially(event, |on| on.activity(first).go(Only::Open))
        .during(Only::Open, event, |on| on.activity(later).stay())
        .rests_in(Only::Open);
    let sagas = MemorySagas::new();
    let endpoint = saga.stored_in(sagas.clone()).on(Endpoint::new("counters"));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await.unwrap();
    let counter = Uuid::now_v7();
    for number in 0..3 {
        harness.publish(&Counted { counter, number }).await.unwrap();
    }
    harness.quiescent().await;
    let found = find(&Sagas::<Counter>::of(sagas.clone()), counter).await;
    assert_eq!(found.data.numbers.len(), 3);
    assert_eq!(kept.0.lock().unwrap().len(), 3);
    assert_eq!((sagas.len(), sagas.is_empty()), (1, false));
    harness.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_busy_holds_up_no_other() {
    let (busy, go) = (Uuid::now_v7(), Arc::new(Notify::new()));
    let (harness, counters) = start(busy, &go).await;
    for number in 0..3 {
        let counted = Counted {
            counter: busy,
            number,
        };
        harness.publish(&counted).await.unwrap();
    }
    let other = Uuid::now_v7();
    let counted = Counted {
        counter: other,
        number: 7,
    };
    harness.publish(&counted).await.unwrap();
    let noted = harness.published::<Noted>().wait().await.unwrap();
    assert_eq!(noted.message().counter, other);
    assert_eq!(counters.find(busy).await.unwrap(), None);
    // One permit for each of them, as one holds the instance at a time.
    while find_count(&counters, busy).await < 3 {
        go.notify_one();
        tokio::task::yield_now().await;
    }
    harness.shutdown().await.unwrap();
}

async fn find_count(counters: &Sagas<Counter>, id: Uuid) -> usize {
    let found = counters.find(id).await.unwrap();
    found.map_or(0, |counter| counter.data.numbers.len())
}
