//! What PostgreSQL has to do for the relay, by its own statistics.

use std::time::Duration;

use bus_core::{Bus, Endpoint};
use bus_sql::Sql;
use bus_sql::sqlx::Postgres;
use bus_tests::contracts::Ordered;
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, eventually};
use tokio::time::{Instant, timeout};

use crate::databases::{Fixture, TestDatabase};

/// Rows while the statements of the relay become known to its connections.
const FEW: u32 = 100;

/// Rows that come at once afterwards.
const MANY: u32 = 20_000;

/// The statistics of the server once a service has ended.
struct Statistics(Sql<Postgres>);

impl Statistics {
    async fn after(db: &Fixture<Postgres>) -> Self {
        db.sql.pool().close().await;
        let later = Postgres::again(db).await;
        // Those of a connection are complete when it has ended.
        let others = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = current_database() AND backend_type = 'client backend' \
                      AND pid <> pg_backend_pid()";
        eventually("all connections have ended", async || {
            Postgres::number(later.pool(), others).await == 0
        })
        .await;
        Self(later)
    }

    async fn of(&self, table: &str, figure: &str) -> i64 {
        let query = format!("SELECT {figure} FROM pg_stat_user_tables WHERE relname = '{table}'");
        Postgres::number(self.0.pool(), &query).await
    }
}

async fn start(
    db: &Fixture<Postgres>,
    broker: &dyn TestBroker,
    ordered: &Recorder<Ordered>,
) -> Bus {
    db.sql.migrate().await.unwrap();
    // A look at the table by the server itself would make new plans, a minute later perhaps.
    let still = "ALTER TABLE bus_outbox SET (autovacuum_enabled = off)";
    Postgres::run(db.sql.pool(), still).await.unwrap();
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker.bus().background(db.sql.relay()).endpoint(audit);
    bus.start().await.unwrap()
}

async fn commit(db: &Fixture<Postgres>, bus: &Bus, count: u32) {
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    for number in 0..count {
        unit.publish(&Ordered { number }).await.unwrap();
    }
    unit.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_finds_a_backlog_by_its_index_after_the_table_was_small() {
    let (broker, db) = (InMemoryTestBroker::new(), Postgres::open().await);
    let ordered = Recorder::new();
    let bus = start(&db, &broker, &ordered).await;
    for _ in 0..FEW {
        commit(&db, &bus, 1).await;
        ordered.take(1).await;
    }
    commit(&db, &bus, MANY).await;
    ordered.take(MANY as usize).await;
    bus.shutdown().await.unwrap();
    let statistics = Statistics::after(&db).await;
    // Once to send it and once to delete it, and those that are on their way with each read. Plans
    // that sort, or read from the front, come to twenty times as many.
    let by_index = statistics.of("bus_outbox", "idx_tup_fetch").await;
    let expected = i64::from(2 * MANY)..i64::from(8 * MANY);
    assert!(
        expected.contains(&by_index),
        "rows read by index: {by_index}"
    );
    let one_by_one = statistics.of("bus_outbox", "seq_tup_read").await;
    assert!(
        one_by_one < i64::from(MANY),
        "rows read one by one: {one_by_one}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_without_messages_asks_once_a_second() {
    let (broker, db) = (InMemoryTestBroker::new(), Postgres::open().await);
    let ordered = Recorder::new();
    let bus = start(&db, &broker, &ordered).await;
    commit(&db, &bus, 1).await;
    ordered.take(1).await;
    let since = Instant::now();
    let silence = timeout(Duration::from_secs(3), ordered.take(1)).await;
    assert!(silence.is_err(), "nothing was sent");
    bus.shutdown().await.unwrap();
    let limit = since.elapsed().as_secs() * 4 + 20;
    let statistics = Statistics::after(&db).await;
    let asked = statistics
        .of("bus_scheduled", "seq_scan + coalesce(idx_scan, 0)")
        .await;
    assert!(asked > 0, "the relay looked for what is due");
    assert!(asked.unsigned_abs() < limit, "it looked {asked} times");
}
