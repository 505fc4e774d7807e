//! A store that could remember nothing ends the start of the bus.

use std::time::Duration;

use bus_core::idempotency::IdempotencyStore;
use bus_core::{Endpoint, Idempotency, StartError};
use bus_redis::RedisIdempotencyStore;
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::sqlite::SqlitePoolOptions;
use bus_sql::{Backend, Sql};
use bus_tests::contracts::Place;
use bus_tests::{InMemoryTestBroker, Recorder, RedisServer, TestBroker};

use crate::sql::{postgres_database, sqlite_file};

/// Expects that a bus with this store does not start; returns why.
async fn expect_no_start(store: impl IdempotencyStore) -> String {
    let broker: &dyn TestBroker = &InMemoryTestBroker::new();
    let endpoint = Endpoint::new("payments")
        .idempotency(Idempotency::new(store))
        .consumer(Recorder::<Place>::new());
    let started = broker.start(endpoint).await;
    let Err(error @ StartError::Store { .. }) = started else {
        panic!("the bus must not start: {started:?}");
    };
    let text = format!("{error} {error:?}");
    assert!(text.contains("endpoint `payments` cannot start"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    text
}

fn redis(address: &str) -> RedisIdempotencyStore {
    RedisIdempotencyStore::new(address).expect("an address")
}

#[tokio::test]
async fn a_redis_that_is_not_there_ends_the_start() {
    let text = expect_no_start(redis("redis://:s3cret@127.0.0.1:1")).await;
    assert!(text.contains("127.0.0.1:1 cannot be reached"), "{text}");
}

#[tokio::test]
async fn a_redis_that_lets_nothing_be_done_ends_the_start() {
    let server = RedisServer::private().await;
    let wrong = redis(&format!("redis://:s3cret@{}", server.host()));
    let text = expect_no_start(wrong).await;
    assert!(text.contains("refuses the user or the password"), "{text}");
    let made = server
        .command("ACL SETUSER bus on >s3cret ~bus:* +ping +info")
        .await;
    assert_eq!(made, "+OK");
    let without_rights = redis(&format!("redis://bus:s3cret@{}", server.host()));
    let text = expect_no_start(without_rights).await;
    assert!(text.contains("+evalsha"), "{text}");
}

#[tokio::test]
async fn a_database_that_is_not_there_ends_the_start() {
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_millis(500));
    let address = "postgres://bus:s3cret@127.0.0.1:1/nowhere";
    let sql = Sql::postgres(pool.connect_lazy(address).expect("an address"));
    expect_no_start(sql.idempotency()).await;
    let pool = SqlitePoolOptions::new().acquire_timeout(Duration::from_millis(500));
    let sql = Sql::sqlite(
        pool.connect_lazy("sqlite://nowhere/keys.db")
            .expect("a path"),
    );
    let text = expect_no_start(sql.idempotency()).await;
    assert!(text.contains("unable to open database file"), "{text}");
}

async fn expect_tables<DB: Backend>(sql: Sql<DB>) {
    let without = sql.clone().without_migrations();
    let text = expect_no_start(without.idempotency()).await;
    assert!(text.contains("Sql::migrations()"), "{text}");
    sql.migrate().await.expect("the tables are made");
    let broker: &dyn TestBroker = &InMemoryTestBroker::new();
    let endpoint = Endpoint::new("payments")
        .idempotency(Idempotency::new(sql.without_migrations().idempotency()))
        .consumer(Recorder::<Place>::new());
    let bus = broker.start(endpoint).await.expect("there are tables");
    bus.shutdown().await.expect("stopped");
}

#[tokio::test]
async fn missing_tables_end_the_start() {
    let database = postgres_database().await;
    let pool = PgPoolOptions::new().connect(&database).await;
    expect_tables(Sql::postgres(pool.expect("a database"))).await;
    let file = format!("sqlite://{}?mode=rwc", sqlite_file().display());
    let pool = SqlitePoolOptions::new().connect(&file);
    expect_tables(Sql::sqlite(pool.await.expect("a file"))).await;
}
