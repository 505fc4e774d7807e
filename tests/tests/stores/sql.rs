//! Idempotency stores in SQL: handles on the keys of one test.

use std::path::PathBuf;
use std::time::Duration;

use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use bus_sql::sqlx::{Postgres, Sqlite};
use bus_sql::{Sql, SqlIdempotencyStore};
use bus_tests::PostgresServer;
use uuid::Uuid;

/// Longer than all writers of a test take: SQLite lets those wait that ask at a bad time, in no order.
const BUSY: Duration = Duration::from_secs(30);

/// The address of a database that no other test has.
pub(crate) async fn postgres_database() -> String {
    let database = PostgresServer::shared().await.database().await;
    let url = database.url().to_owned();
    // Its handles outlive this call; on the server of POSTGRES_URL it stays.
    std::mem::forget(database);
    url
}

/// One more handle on the keys in a database.
pub(crate) async fn postgres(url: &str) -> SqlIdempotencyStore<Postgres> {
    let pool = PgPoolOptions::new().max_connections(4).connect(url).await;
    Sql::postgres(pool.expect("a database")).idempotency()
}

/// A file that no other test has.
pub(crate) fn sqlite_file() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("keys-{}.db", Uuid::now_v7()))
}

/// One more handle on the keys in a file.
pub(crate) async fn sqlite(file: &PathBuf) -> SqlIdempotencyStore<Sqlite> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new().max_connections(4);
    Sql::sqlite(pool.connect_with(options).await.expect("a file")).idempotency()
}
