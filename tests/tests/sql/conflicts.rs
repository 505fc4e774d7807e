//! Transactions that the database ends in favour of others: they run again, and no message has failed.

use std::sync::Arc;

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Policy};
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use bus_sql::sqlx::{self, Postgres, Sqlite};
use bus_sql::{Sql, Tx, TxConsumer};
use bus_tests::contracts::Place;
use bus_tests::{Gate, InMemoryTestBroker, Recorder, TestBroker, eventually, numbers};
use tokio::sync::Barrier;

use crate::databases::{Placing, TestDatabase, stop_unfailed};

/// Reads all balances and changes one, or changes both in the order of its message.
#[derive(Clone)]
struct Transfer {
    statements: fn(u32) -> [&'static str; 2],
    /// The first attempts of both messages meet between their statements.
    meeting: Arc<Barrier>,
    seen: Recorder<Place>,
}

impl TxConsumer<Place, Postgres> for Transfer {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<Postgres>) -> ConsumeResult {
        self.seen.note(&ctx);
        let is_first = self.seen.calls() <= 2;
        let [first, second] = (self.statements)(ctx.message().number);
        sqlx::query(first).execute(tx.conn()).await?;
        if is_first {
            self.meeting.wait().await;
        }
        sqlx::query(second).execute(tx.conn()).await?;
        Postgres::effect(tx.conn(), &ctx.message().number.to_string()).await?;
        Ok(())
    }
}

/// Runs both messages at once, and returns how often the consumer ran; each has its effect once.
async fn transfers(isolation: &str, statements: fn(u32) -> [&'static str; 2]) -> usize {
    let db = Postgres::open().await;
    let accounts = "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL); \
                    INSERT INTO account VALUES (1, 0), (2, 0)";
    Postgres::run(db.sql.pool(), accounts).await.unwrap();
    let isolated = format!(
        "DO $$ BEGIN EXECUTE format( \
         'ALTER DATABASE %I SET default_transaction_isolation = %L', current_database(), '{isolation}'); END $$"
    );
    Postgres::run(db.sql.pool(), &isolated).await.unwrap();
    let sql = Postgres::again(&db).await;
    sql.migrate().await.unwrap();
    let transfer = Transfer {
        statements,
        meeting: Arc::new(Barrier::new(2)),
        seen: Recorder::new(),
    };
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    // Without any retry.
    let endpoint = Endpoint::new(broker.name("bank")).concurrency(2);
    let bus = broker.start(endpoint.consumer(sql.consumer(transfer.clone())));
    let bus = bus.await.unwrap();
    for number in [1, 2] {
        bus.publish(&Place { number }).await.unwrap();
    }
    eventually("both are handled", async || db.effects().await.len() == 2).await;
    stop_unfailed(broker, "bank", bus).await;
    assert_eq!(db.effects().await, ["1", "2"]);
    transfer.seen.calls()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_tried_again_and_is_no_failure() {
    const ONE: &str = "UPDATE account SET balance = balance + 1 WHERE id = 1";
    const TWO: &str = "UPDATE account SET balance = balance + 1 WHERE id = 2";
    let crossed = |number| if number == 1 { [ONE, TWO] } else { [TWO, ONE] };
    assert!(
        transfers("read committed", crossed).await > 2,
        "one was ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serialization_failure_is_tried_again_and_is_no_failure() {
    const READ: &str = "SELECT sum(balance) FROM account";
    const ONE: &str = "UPDATE account SET balance = balance + 1 WHERE id = 1";
    const TWO: &str = "UPDATE account SET balance = balance + 1 WHERE id = 2";
    let skewed = |number| [READ, if number == 1 { ONE } else { TWO }];
    assert!(transfers("serializable", skewed).await > 2, "one was ended");
}

/// A writer of another process holds the lock for longer than a statement waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_database_is_waited_for_and_is_no_failure() {
    let db = Sqlite::open().await;
    let options = SqliteConnectOptions::new().filename(&db.address);
    let options = options.busy_timeout(std::time::Duration::from_millis(50));
    let pool = SqlitePoolOptions::new().connect_with(options).await;
    let sql = Sql::sqlite(pool.unwrap());
    sql.migrate().await.unwrap();
    let (broker, placed) = (InMemoryTestBroker::new(), Recorder::new());
    let broker: &dyn TestBroker = &broker;
    let sales = Endpoint::new(broker.name("sales"));
    let sales = sales.consumer(sql.consumer(Placing(placed.clone())));
    let bus = broker.start(sales).await.unwrap();
    let writer = db.sql.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    eventually("the health says so", async || {
        format!("{:?}", bus.health()).contains("database is locked")
    })
    .await;
    assert_eq!(placed.calls(), 0);
    writer.rollback().await.unwrap();
    placed.next().await;
    stop_unfailed(broker, "sales", bus).await;
    assert_eq!(db.effects().await, ["1"]);
}

/// Waits at a gate in its transaction if its message says so.
#[derive(Clone)]
struct Waiting {
    gate: Gate,
    seen: Recorder<Place>,
}

impl TxConsumer<Place, Postgres> for Waiting {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<Postgres>) -> ConsumeResult {
        let number = ctx.message().number;
        if number == 0 {
            self.gate.pass().await;
        }
        Postgres::effect(tx.conn(), &number.to_string()).await?;
        self.seen.note(&ctx);
        Ok(())
    }
}

/// More duplicates than there are slots and connections wait for a message; others are handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_racing_duplicate_waits_without_a_slot_and_without_a_connection() {
    let db = Postgres::open().await;
    let pool = PgPoolOptions::new().max_connections(3).connect(&db.address);
    let sql = Sql::postgres(pool.await.unwrap());
    let sql = sql.by(|place: &Place| place.number.to_string());
    let waiting = Waiting {
        gate: Gate::closed(),
        seen: Recorder::new(),
    };
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let endpoint = Endpoint::new(broker.name("once"))
        .concurrency(2)
        .policy(Policy::new().prefetch(20))
        .consumer(sql.consumer(waiting.clone()));
    let bus = broker.start(endpoint).await.unwrap();
    for number in [0; 7].into_iter().chain(1..=10) {
        bus.publish(&Place { number }).await.unwrap();
    }
    let others = waiting.seen.take(10).await;
    assert_eq!(numbers(&others), (1..=10).collect::<Vec<_>>());
    assert_eq!(waiting.gate.waiting(), 1);
    assert!(bus.health().is_healthy(), "{:?}", bus.health());
    waiting.gate.open();
    broker.until_depth(&broker.name("once"), 0).await;
    stop_unfailed(broker, "once", bus).await;
    assert_eq!(db.effects().await.len(), 11);
}
