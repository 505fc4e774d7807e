//! Databases that refuse, abort, or go away.

use std::collections::BTreeSet;
use std::time::Duration;

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Fault, Retry};
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::{self, Postgres};
use bus_sql::{Sql, SqlErrorKind, Tx, TxConsumer};
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::{InMemoryTestBroker, PostgresServer, Recorder, TestBroker, eventually};

use crate::databases::{Placing, TestDatabase, on_each_database};

on_each_database! {
    a_transaction_that_the_consumer_ended_is_an_error,
}

/// Commits by itself.
pub(crate) struct Committing;

impl TxConsumer<Place, Postgres> for Committing {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<Postgres>) -> ConsumeResult {
        sqlx::query("COMMIT").execute(tx.conn()).await?;
        ctx.publish(&Ordered { number: 1 }).await?;
        Ok(())
    }
}

impl TxConsumer<Place, sqlx::Sqlite> for Committing {
    async fn consume(
        &self,
        ctx: ConsumeContext<Place>,
        tx: &mut Tx<sqlx::Sqlite>,
    ) -> ConsumeResult {
        sqlx::query("COMMIT").execute(tx.conn()).await?;
        ctx.publish(&Ordered { number: 1 }).await?;
        Ok(())
    }
}

async fn a_transaction_that_the_consumer_ended_is_an_error<DB: TestDatabase>()
where
    Committing: TxConsumer<Place, DB>,
{
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let faults = Recorder::<Fault<Place>>::new();
    let sales = Endpoint::new(broker.name("sales")).retry(Retry::interval(3, Duration::ZERO));
    let bus = broker
        .bus()
        .endpoint(sales.consumer(db.sql.consumer(Committing)))
        .endpoint(Endpoint::new(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await
        .unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    let fault = faults.next().await;
    let text = format!("{:?}", fault.message());
    assert!(text.contains("its result alone decides"), "{text}");
    assert_eq!(db.rows("outbox").await, 0);
    bus.shutdown().await.unwrap();
}

/// Runs a statement that fails, and goes on as if it had not.
struct Ignoring;

impl TxConsumer<Place, Postgres> for Ignoring {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<Postgres>) -> ConsumeResult {
        Postgres::effect(tx.conn(), "1").await?;
        let _ = sqlx::query("SELECT 1 / 0").execute(tx.conn()).await;
        if ctx.message().number == 2 {
            ctx.publish(&Ordered { number: 1 }).await?;
        }
        Ok(())
    }
}

/// PostgreSQL answers the commit of an aborted transaction with a rollback, and no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_transaction_is_no_success() {
    let (broker, db) = (InMemoryTestBroker::new(), Postgres::open().await);
    let broker: &dyn TestBroker = &broker;
    let faults = Recorder::<Fault<Place>>::new();
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(broker.name("sales")).consumer(db.sql.consumer(Ignoring)))
        .endpoint(Endpoint::new(broker.name("faults")).consumer(faults.clone()))
        .start()
        .await
        .unwrap();
    for number in [1, 2] {
        bus.publish(&Place { number }).await.unwrap();
        let text = format!("{:?}", faults.next().await.message());
        assert!(text.contains("aborted by a statement"), "{text}");
    }
    assert_eq!(db.effects().await, [""; 0]);
    bus.shutdown().await.unwrap();
}

/// Fails with a state of SQL at its first two calls.
struct Conflicting(Recorder<Place>);

impl TxConsumer<Place, Postgres> for Conflicting {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<Postgres>) -> ConsumeResult {
        self.0.note(&ctx);
        Postgres::effect(tx.conn(), &ctx.message().number.to_string()).await?;
        if self.0.calls() <= 2 {
            let fail = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$";
            sqlx::query(fail).execute(tx.conn()).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_tried_again_and_is_no_failure() {
    let (broker, db) = (InMemoryTestBroker::new(), Postgres::open().await);
    let broker: &dyn TestBroker = &broker;
    let placed = Recorder::new();
    // Without any retry.
    let sales = Endpoint::new(broker.name("sales")).concurrency(1);
    let last = Recorder::<Ordered>::new();
    let sales = sales
        .consumer(db.sql.consumer(Conflicting(placed.clone())))
        .consumer(last.clone());
    let bus = broker.start(sales).await.unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    bus.publish(&Ordered { number: LAST }).await.unwrap();
    last.next().await;
    assert_eq!(placed.calls(), 3);
    assert_eq!(db.effects().await, ["1"]);
    assert_eq!(
        broker
            .depth(&format!("{}_error", broker.name("sales")))
            .await
            .unwrap_or(0),
        0
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_waited_for() {
    let server = PostgresServer::private().await;
    let database = server.database().await;
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(1));
    let sql = Sql::postgres(pool.connect(database.url()).await.unwrap());
    Postgres::run(sql.pool(), "CREATE TABLE effect (number TEXT NOT NULL)")
        .await
        .unwrap();
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let (placed, ordered) = (Recorder::new(), Recorder::<Ordered>::new());
    let bus = broker
        .bus()
        .background(sql.relay())
        .endpoint(
            Endpoint::new(broker.name("sales")).consumer(sql.consumer(Placing(placed.clone()))),
        )
        .endpoint(Endpoint::new(broker.name("audit")).consumer(ordered.clone()))
        .start()
        .await
        .unwrap();
    bus.publish(&Place { number: 0 }).await.unwrap();
    ordered.next().await;
    server.kill().await;
    for number in 1..=5 {
        bus.publish(&Place { number }).await.unwrap();
    }
    eventually("the health says so", async || !bus.health().is_healthy()).await;
    assert_eq!(placed.calls(), 1, "no consumer runs without its database");
    server.start_again().await;
    // The row of the first event may come back with the crash, and the event with its id again.
    let mut events = BTreeSet::new();
    while !events.is_superset(&(1..=5).collect()) {
        events.insert(ordered.next().await.message().number);
    }
    assert_eq!(Postgres::effects(sql.pool()).await.len(), 6);
    bus.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_wrong_address_is_said_at_the_start() {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(500));
    let pool = pool.connect_lazy("postgres://127.0.0.1:1/nowhere").unwrap();
    let sql = Sql::postgres(pool);
    let error = sql.migrate().await.unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Unavailable, "{error}");
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let error = broker
        .bus()
        .background(sql.relay())
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("sql-relay"), "{error}");
}

#[tokio::test]
async fn missing_rights_are_said_at_the_start() {
    let db = PostgresServer::shared().await.database().await;
    db.sql("CREATE SCHEMA closed; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        .await;
    db.sql(&format!("CREATE ROLE {} LOGIN PASSWORD 'x'", db.name()))
        .await;
    let pool = PgPoolOptions::new()
        .connect(&db.url_as(db.name(), "x"))
        .await
        .unwrap();
    let error = Sql::postgres(pool).migrate().await.unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Schema, "{error}");
    assert!(
        error.to_string().contains("without_migrations()"),
        "{error}"
    );
}
