//! Sagas over RabbitMQ: requests, their outcomes, and timeouts.

use std::time::Duration;

use bus_core::{BusBuilder, ConsumeContext, ConsumeError, ConsumeResult, Endpoint};
use bus_saga::{MemorySagas, Saga, SagaRepository, SagaState, StateMachine, by};
use bus_tests::contracts::{Answered, Ask, Cancelled, Ordered, Place};
use bus_tests::{Broker, RabbitMqTestBroker, Recorder, TestBroker, numbers};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::databases::{TestDatabase, on_each_database};

on_each_database! { requests_and_timeouts_of_a_saga_in_sql }

#[derive(Default, Serialize, Deserialize)]
struct Quest {
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Stage {
    Asking,
    Waiting,
}

impl Saga for Quest {
    type State = Stage;
    const NAME: &'static str = "quest";
}

const FAULTED: u32 = 1000;
const TIMED_OUT: u32 = 2000;
const FIRED: u32 = 3000;

/// Publishes each outcome of its request.
fn quests() -> StateMachine<Quest> {
    let mut saga = StateMachine::<Quest>::new();
    let placed = saga.event(by::id(|it: &Place| Uuid::from_u128(it.number.into())));
    let asked = saga.request::<Ask, Answered>();
    let later = saga.timeout::<Cancelled>();
    let patience = Duration::from_secs(2);
    saga.initially(placed, |on| {
        on.set(|quest, placed| quest.number = placed.number)
            .keep_requester()
            .request(asked, patience, |quest, _| Ask {
                number: quest.number,
            })
            .go(Stage::Asking)
    })
    .during(Stage::Asking, asked.completed, |on| {
        on.publish(|_, answered| Ordered {
            number: answered.number,
        })
        .schedule(later, Duration::from_millis(200), |_, answered| Cancelled {
            number: answered.number,
        })
        .go(Stage::Waiting)
    })
    .during(Stage::Asking, asked.faulted, |on| {
        on.publish(|quest, _| Ordered {
            number: FAULTED + quest.number,
        })
        .finish()
    })
    .during(Stage::Asking, asked.timed_out, |on| {
        on.publish(|quest, _| Ordered {
            number: TIMED_OUT + quest.number,
        })
        .respond_later(|quest, _| Answered {
            number: quest.number,
        })
        .finish()
    })
    .during(Stage::Waiting, later.fired, |on| {
        on.publish(|_, later| Ordered {
            number: FIRED + later.number,
        })
        .finish()
    })
    .ignore_everywhere(placed);
    saga
}

/// Answers 1, fails at 2, and leaves others without an answer.
async fn answer(ctx: ConsumeContext<Ask>) -> ConsumeResult {
    match ctx.message().number {
        1 => Ok(ctx.respond(&Answered { number: 1 }).await?),
        2 => Err(ConsumeError::permanent("no answer")),
        _ => Ok(()),
    }
}

async fn assert_outcomes(
    broker: &dyn TestBroker,
    bus: BusBuilder,
    repository: impl SagaRepository,
) {
    let ordered = Recorder::<Ordered>::new();
    let saga = quests().stored_in(repository);
    let bus = bus
        .endpoint(saga.on(Endpoint::new(broker.name("quests"))))
        .endpoint(Endpoint::new(broker.name("answers")).consumer(answer))
        .endpoint(Endpoint::new(broker.name("audit")).consumer(ordered.clone()));
    let bus = bus.start().await.unwrap();
    for number in 1..=3 {
        bus.publish(&Place { number }).await.unwrap();
    }
    // Answered by a later event of the saga.
    let answered: Answered = bus.request(&Place { number: 4 }).await.unwrap();
    assert_eq!(answered.number, 4);
    let outcomes = numbers(&ordered.take(5).await);
    let expected = [1, FAULTED + 2, TIMED_OUT + 3, TIMED_OUT + 4, FIRED + 1];
    assert_eq!(outcomes, expected);
    bus.shutdown().await.unwrap();
    let errors = format!("{}_error", broker.name("quests"));
    assert_eq!(broker.depth(&errors).await.unwrap_or(0), 0);
}

async fn broker() -> RabbitMqTestBroker {
    RabbitMqTestBroker::at(Broker::shared().await.url()).await
}

async fn requests_and_timeouts_of_a_saga_in_sql<DB: TestDatabase>() {
    let (broker, db) = (broker().await, DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let bus = broker.bus().background(db.sql.relay());
    assert_outcomes(broker, bus, db.sql.sagas()).await;
    assert_eq!(db.rows("outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_timeouts_of_a_saga_in_memory() {
    let broker = broker().await;
    let broker: &dyn TestBroker = &broker;
    assert_outcomes(broker, broker.bus(), MemorySagas::new()).await;
}
