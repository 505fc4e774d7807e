//! Sagas in the transactions of their events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus_core::transport::{Capabilities, Capability};
use bus_core::{Bus, BusBuilder, ConsumeError, ConsumeResult, Endpoint, Message};
use bus_saga::{MemorySagas, On, Saga, SagaState, Sagas, StateMachine, Step, by};
use bus_sql::sqlx::Sqlite;
use bus_sql::{Sql, Tx, TxActivity};
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, Rig, TestBroker, eventually};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::databases::{Fixture, TestDatabase, on_each_database, stop_unfailed};

on_each_database! {
    an_instance_is_kept_with_its_inbox_and_its_messages,
    a_timeout_waits_in_the_table_and_is_deleted_when_it_is_cancelled,
    a_timeout_comes_in_time,
    a_timeout_comes_over_a_transport_that_cannot_delay,
    a_failed_event_leaves_nothing,
    a_message_that_comes_again_is_one_event,
    a_key_names_one_instance_that_has_not_finished,
    a_state_that_is_gone_is_an_error_and_nothing_is_lost,
    a_row_of_a_newer_version_is_refused,
    what_finished_long_ago_is_forgotten,
}

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Trades:Opened")]
struct Opened {
    trade: Uuid,
    number: String,
    /// Milliseconds until the deadline.
    patience: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Trades:Filled")]
struct Filled {
    number: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Trades:DeadlineOver")]
struct DeadlineOver {}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Trade {
    number: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
enum Phase {
    Waiting,
    Settling,
}

impl Saga for Trade {
    type State = Phase;
    const NAME: &'static str = "trade";
}

/// An effect in the transaction; a trade of this number fails after it.
struct Book;

const UNLUCKY: &str = "13";

impl<DB: TestDatabase> TxActivity<Trade, Filled, DB> for Book {
    async fn run(&self, step: &mut Step<'_, Trade, Filled>, tx: &mut Tx<DB>) -> ConsumeResult {
        DB::effect(tx.conn(), &step.message.number).await?;
        if step.message.number == UNLUCKY {
            return Err(ConsumeError::permanent("unlucky"));
        }
        Ok(())
    }
}

/// Opened, then filled in time, then settled by a `Place`; or over.
fn trading<DB: TestDatabase>(sql: &Sql<DB>) -> StateMachine<Trade> {
    let mut saga = StateMachine::<Trade>::new();
    let number = saga.key("number", |trade: &Trade| Some(trade.number.clone()));
    let opened = saga.event(by::id(|it: &Opened| it.trade));
    let filled = saga.event(number.of(|it: &Filled| it.number.clone()));
    let settled = saga.event(number.of(|it: &Place| it.number.to_string()));
    let deadline = saga.timeout::<DeadlineOver>();
    saga.initially(opened, |on| {
        on.set(|trade, opened| trade.number.clone_from(&opened.number))
            .schedule_in(deadline, |_, opened| {
                (Duration::from_millis(opened.patience), DeadlineOver {})
            })
            .go(Phase::Waiting)
    })
    .during(Phase::Waiting, filled, |on| {
        on.unschedule(deadline)
            .publish(|_, _| Ordered { number: 1 })
            .activity(sql.activity(Book))
            .go(Phase::Settling)
    })
    .during(Phase::Waiting, deadline.fired, |on| {
        on.publish(|_, _| Ordered { number: 2 }).finish()
    })
    .during(Phase::Settling, settled, On::finish)
    .postpone(Phase::Waiting, settled)
    .ignore(Phase::Settling, filled)
    .ignore_everywhere(opened);
    saga
}

/// A transport that claims as little as it may.
struct Plain;

#[async_trait]
impl Rig for Plain {
    fn capabilities(&self, _: Capabilities) -> Capabilities {
        Capabilities::of(&[Capability::MessageTtl])
    }
}

/// In memory, the timeouts of the same saga have no place to wait in.
#[tokio::test]
async fn timeouts_in_memory_need_a_transport_that_can_delay() {
    let broker = InMemoryTestBroker::new();
    let it: &dyn TestBroker = &broker;
    let db = Sqlite::open().await;
    let endpoint = trading(&db.sql).stored_in(MemorySagas::new());
    let bus = it.rigged(&Arc::new(Plain));
    let started = bus.endpoint(endpoint.on(Endpoint::new("trades"))).start();
    let text = started.await.unwrap_err().to_string();
    assert!(
        text.contains("endpoint `trades`: this transport has no"),
        "{text}"
    );
}

struct Trading<DB: TestDatabase> {
    broker: InMemoryTestBroker,
    db: Fixture<DB>,
    bus: Bus,
    trades: Sagas<Trade>,
    ordered: Recorder<Ordered>,
}

impl<DB: TestDatabase> Trading<DB> {
    async fn start() -> Self {
        let broker = InMemoryTestBroker::new();
        let it: &dyn TestBroker = &broker;
        let bus = it.bus();
        Self::start_on(broker, bus).await
    }

    async fn start_on(broker: InMemoryTestBroker, bus: BusBuilder) -> Self {
        let db = DB::open().await;
        let ordered = Recorder::<Ordered>::new();
        let it: &dyn TestBroker = &broker;
        let endpoint = Endpoint::new(it.name("trades")).concurrency(1);
        let endpoint = trading(&db.sql).stored_in(db.sql.sagas()).on(endpoint);
        let audit = Endpoint::new(it.name("audit")).consumer(ordered.clone());
        let bus = bus.background(db.sql.relay());
        let bus = bus.endpoint(endpoint).endpoint(audit).start().await;
        Self {
            bus: bus.unwrap(),
            trades: Sagas::of(db.sql.sagas()),
            broker,
            db,
            ordered,
        }
    }

    /// Opens a trade and waits for it.
    async fn open(&self, number: &str, patience: Duration) -> Uuid {
        let opened = Opened {
            trade: Uuid::now_v7(),
            number: number.to_owned(),
            patience: u64::try_from(patience.as_millis()).unwrap(),
        };
        self.bus.publish(&opened).await.unwrap();
        self.until(opened.trade, 1).await;
        opened.trade
    }

    async fn fill(&self, number: &str) {
        let number = number.to_owned();
        self.bus.publish(&Filled { number }).await.unwrap();
    }

    async fn until(&self, trade: Uuid, revision: u64) {
        eventually("the instance has at least this revision", async || {
            let found = self.trades.find(trade).await.unwrap();
            found.is_some_and(|found| found.revision >= revision)
        })
        .await;
    }

    async fn state(&self, trade: Uuid) -> Option<Phase> {
        let found = self.trades.find(trade).await.unwrap();
        found.expect("an instance").state
    }

    /// Waits until so many messages have failed.
    async fn failures(&self, count: u32) {
        let broker: &dyn TestBroker = &self.broker;
        let errors = format!("{}_error", broker.name("trades"));
        broker.until_depth(&errors, count).await;
    }

    async fn run(&self, statement: &str) {
        DB::run(self.db.sql.pool(), statement).await.unwrap();
    }

    async fn stop_unfailed(self) -> Fixture<DB> {
        stop_unfailed(&self.broker, "trades", self.bus).await;
        self.db
    }
}

const LONG: Duration = Duration::from_secs(60 * 60);

async fn an_instance_is_kept_with_its_inbox_and_its_messages<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    let trade = trading.open("A-7", LONG).await;
    assert_eq!(trading.state(trade).await, Some(Phase::Waiting));
    trading.fill("A-7").await;
    assert_eq!(trading.ordered.next().await.message().number, 1);
    let found = trading.trades.find_by("number", "A-7").await.unwrap();
    let found = found.expect("an instance");
    assert_eq!((found.id, found.state), (trade, Some(Phase::Settling)));
    assert_eq!(trading.db.effects().await, ["A-7"]);
    assert_eq!(trading.db.rows("inbox").await, 2);
    let db = trading.stop_unfailed().await;
    assert_eq!(db.rows("saga").await, 1);
}

async fn a_timeout_waits_in_the_table_and_is_deleted_when_it_is_cancelled<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    let trade = trading.open("A-7", LONG).await;
    assert_eq!(trading.db.rows("scheduled").await, 1);
    trading.fill("A-7").await;
    trading.until(trade, 2).await;
    assert_eq!(trading.db.rows("scheduled").await, 0);
    trading.stop_unfailed().await;
}

async fn a_timeout_comes_in_time<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    let trade = trading.open("A-7", Duration::from_millis(300)).await;
    assert_eq!(trading.ordered.next().await.message().number, 2);
    assert_eq!(trading.state(trade).await, None);
    // What comes late finds it by its id and by its key, and is no failure.
    trading.fill("A-7").await;
    eventually("it is handled", async || {
        trading.db.rows("inbox").await == 3
    })
    .await;
    assert_eq!(trading.state(trade).await, None);
    trading.stop_unfailed().await;
}

async fn a_timeout_comes_over_a_transport_that_cannot_delay<DB: TestDatabase>() {
    let broker = InMemoryTestBroker::new();
    let it: &dyn TestBroker = &broker;
    let bus = it.rigged(&Arc::new(Plain));
    let trading = Trading::<DB>::start_on(broker, bus).await;
    trading.open("A-7", Duration::from_millis(300)).await;
    assert_eq!(trading.ordered.next().await.message().number, 2);
    trading.stop_unfailed().await;
}

async fn a_failed_event_leaves_nothing<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    let trade = trading.open(UNLUCKY, LONG).await;
    trading.fill(UNLUCKY).await;
    trading.failures(1).await;
    let found = trading.trades.find(trade).await.unwrap().unwrap();
    assert_eq!((found.state, found.revision), (Some(Phase::Waiting), 1));
    assert_eq!(trading.db.effects().await, [""; 0]);
    assert_eq!(trading.db.rows("scheduled").await, 1, "the timeout runs on");
    assert_eq!(trading.db.rows("inbox").await, 1);
    assert_eq!(trading.ordered.calls(), 0);
    trading.bus.shutdown().await.unwrap();
}

async fn a_message_that_comes_again_is_one_event<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    let trade = trading.open("A-7", LONG).await;
    let filled = Filled {
        number: "A-7".to_owned(),
    };
    let id = Uuid::now_v7();
    for _ in 0..3 {
        let again = trading.bus.publish(&filled).message_id(id);
        again.await.unwrap();
    }
    // The last message of its queue, whose concurrency is 1.
    let last = trading.open("A-8", LONG).await;
    assert_eq!(
        trading.trades.find(trade).await.unwrap().unwrap().revision,
        2
    );
    assert_eq!(trading.state(last).await, Some(Phase::Waiting));
    assert_eq!(trading.db.effects().await, ["A-7"]);
    trading.stop_unfailed().await;
}

async fn a_key_names_one_instance_that_has_not_finished<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    // No column of PostgreSQL holds a zero, and no index a key so long.
    let odd = format!("ö'\"\0{}", "x".repeat(5000));
    let trade = trading.open(&odd, LONG).await;
    let found = trading.trades.find_by("number", &odd).await.unwrap();
    assert_eq!(found.unwrap().id, trade);

    trading.open("7", LONG).await;
    let second = Opened {
        trade: Uuid::now_v7(),
        number: "7".to_owned(),
        patience: 60_000,
    };
    trading.bus.publish(&second).await.unwrap();
    trading.failures(1).await;
    assert_eq!(trading.trades.find(second.trade).await.unwrap(), None);
    // Once the first one has finished, the key is free.
    trading.bus.publish(&Place { number: 7 }).await.unwrap();
    trading.fill("7").await;
    trading.ordered.next().await;
    let again = trading.open("7", LONG).await;
    let found = trading.trades.find_by("number", "7").await.unwrap();
    assert_eq!(found.unwrap().id, again);
    trading.bus.shutdown().await.unwrap();
}

async fn a_state_that_is_gone_is_an_error_and_nothing_is_lost<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    let trade = trading.open("A-7", LONG).await;
    trading
        .run("UPDATE bus_saga SET state = 'Negotiating'")
        .await;
    trading.fill("A-7").await;
    trading.failures(1).await;
    let error = trading.trades.find(trade).await.unwrap_err().to_string();
    assert!(
        error.contains("is stored in state `Negotiating`, which this program does not know"),
        "{error}"
    );
    trading.run("UPDATE bus_saga SET state = 'Waiting'").await;
    let found = trading.trades.find(trade).await.unwrap().unwrap();
    assert_eq!((found.state, found.revision), (Some(Phase::Waiting), 1));
    assert_eq!(trading.db.rows("scheduled").await, 1);
    trading.bus.shutdown().await.unwrap();
}

async fn a_row_of_a_newer_version_is_refused<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    let trade = trading.open("A-7", LONG).await;
    trading
        .run("UPDATE bus_saga SET meta = '{\"version\":2,\"timers\":7}'")
        .await;
    trading.fill("A-7").await;
    trading.failures(1).await;
    let found = trading.trades.find(trade).await.unwrap().unwrap();
    assert_eq!((found.state, found.revision), (Some(Phase::Waiting), 1));
    trading.bus.shutdown().await.unwrap();
}

async fn what_finished_long_ago_is_forgotten<DB: TestDatabase>() {
    let trading = Trading::<DB>::start().await;
    trading.open("A-7", Duration::from_millis(1)).await;
    trading.ordered.next().await;
    let open = trading.open("A-8", LONG).await;
    assert_eq!(trading.db.rows("saga").await, 2);
    let sql = trading.db.sql.clone();
    sql.prune().await.unwrap();
    assert_eq!(trading.db.rows("saga").await, 2, "it is not long ago");
    let at_once = sql.remember(Duration::ZERO);
    eventually("it is forgotten", async || {
        at_once.prune().await.unwrap();
        trading.db.rows("saga").await == 1
    })
    .await;
    assert_eq!(trading.db.rows("saga_key").await, 1);
    assert_eq!(trading.state(open).await, Some(Phase::Waiting));
    trading.stop_unfailed().await;
}
