//! Tables and pools that are not fit for a service are found when its bus starts.

use std::time::Duration;

use bus_core::{Bus, Endpoint, StartError};
use bus_sql::Sql;
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::sqlite::SqlitePoolOptions;
use bus_sql::sqlx::{Postgres, Sqlite};
use bus_tests::{InMemoryTestBroker, Log, Recorder, TestBroker};
use tracing::subscriber::DefaultGuard;

use crate::databases::{Placing, TestDatabase, on_each_database};

on_each_database! {
    a_consumer_without_a_relay_has_its_tables_at_the_start,
    missing_tables_end_the_start,
}

/// Starts a bus with one transactional endpoint, `sales`, that handles three deliveries at once.
async fn start<DB: TestDatabase>(sql: &Sql<DB>, has_relay: bool) -> Result<Bus, StartError> {
    let broker: &dyn TestBroker = &InMemoryTestBroker::new();
    let sales = Endpoint::new("sales").concurrency(3);
    let sales = sales.consumer(sql.consumer(Placing(Recorder::new())));
    let bus = broker.bus().endpoint(sales);
    if has_relay {
        bus.background(sql.relay()).start().await
    } else {
        bus.start().await
    }
}

async fn a_consumer_without_a_relay_has_its_tables_at_the_start<DB: TestDatabase>() {
    let db = DB::open().await;
    let bus = start(&db.sql, false).await.unwrap();
    assert_eq!(db.rows("inbox").await, 0);
    bus.shutdown().await.unwrap();
}

async fn missing_tables_end_the_start<DB: TestDatabase>() {
    let db = DB::open().await;
    let error = start(&db.sql.clone().without_migrations(), false).await;
    let error = error.expect_err("there are no tables");
    let text = error.to_string();
    assert!(matches!(error, StartError::Store { .. }), "{text}");
    for part in ["`sales`", "bus_*", "Sql::migrations()"] {
        assert!(text.contains(part), "{text}");
    }
}

/// Collects what this thread logs.
fn logging() -> (Log, DefaultGuard) {
    Log::of_this_thread(tracing::Level::INFO)
}

/// Starts a bus with a relay on this pool, and expects the warning with these numbers, or none.
async fn expect_warning<DB: TestDatabase>(sql: Sql<DB>, expected: Option<[&str; 2]>) {
    let (log, _here) = logging();
    let bus = start(&sql, true).await.unwrap();
    bus.shutdown().await.unwrap();
    let warnings = log.lines_with("too few connections, and deliveries wait");
    let Some([connections, needed]) = expected else {
        assert_eq!(warnings, [""; 0]);
        return;
    };
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in [
        "WARN",
        "endpoint=\"sales\"",
        "concurrency=3",
        connections,
        needed,
    ] {
        assert!(warnings[0].contains(part), "{part} is not in {warnings:?}");
    }
}

async fn postgres(address: &str, connections: u32) -> Sql<Postgres> {
    let pool = PgPoolOptions::new().max_connections(connections);
    Sql::postgres(pool.connect(address).await.unwrap())
}

async fn sqlite(address: &str, connections: u32) -> Sql<Sqlite> {
    let pool = SqlitePoolOptions::new().max_connections(connections);
    Sql::sqlite(pool.connect(address).await.unwrap())
}

/// Three deliveries at once, a relay of one partition, one that listens, one that prunes.
#[tokio::test]
async fn a_pool_of_postgres_that_is_too_small_is_reported_at_the_start() {
    let db = Postgres::open().await;
    let small = postgres(&db.address, 5).await;
    expect_warning(small, Some(["connections=5", "needed=6"])).await;
    expect_warning(postgres(&db.address, 6).await, None).await;
}

/// One of all connections writes; a second one reads meanwhile.
#[tokio::test]
async fn a_pool_of_sqlite_that_is_too_small_is_reported_at_the_start() {
    let db = Sqlite::open().await;
    let small = sqlite(&db.address, 1).await;
    expect_warning(small, Some(["connections=1", "needed=2"])).await;
    expect_warning(sqlite(&db.address, 2).await, None).await;
    expect_warning(sqlite("sqlite::memory:", 1).await, None).await;
}

/// The relay listens with a connection that it never gives back.
#[tokio::test]
async fn a_pool_of_one_connection_to_postgres_has_no_relay() {
    let db = Postgres::open().await;
    let error = start(&postgres(&db.address, 1).await, true).await;
    let error = error.expect_err("nothing could be sent");
    let text = error.to_string();
    assert!(matches!(error, StartError::Background { .. }), "{text}");
    assert!(text.contains("single connection"), "{text}");
    assert!(text.contains("sql-relay"), "{text}");
}

/// A wrong address ends the start of a consumer that has no relay.
#[tokio::test]
async fn a_wrong_address_ends_the_start_of_a_consumer() {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(500));
    let address = "postgres://bus:s3cret@127.0.0.1:1/nowhere";
    let error = start(&Sql::postgres(pool.connect_lazy(address).unwrap()), false).await;
    let error = error.expect_err("there is no server");
    let text = format!("{error} {error:?}");
    assert!(matches!(error, StartError::Store { .. }), "{text}");
    assert!(
        text.contains("`sales`") && !text.contains("s3cret"),
        "{text}"
    );
}
