//! SQLite.

mod idempotency;
mod inbox;
mod operators;
mod outbox;
#[cfg(test)]
mod plans;
mod recurring;
mod relay;
mod sagas;
mod schema;

use std::time::SystemTime;

use sqlx::{Connection, Result, SqlSafeStr, Sqlite, SqlitePool, Transaction};

use crate::store::micros;

/// Begins a transaction that may write.
///
/// One that begins to read and then writes fails at once when another has written meanwhile.
async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>> {
    loop {
        let conn = pool.acquire().await?;
        if !conn.is_in_transaction() {
            return Transaction::begin(conn, Some("BEGIN IMMEDIATE".into_sql_str())).await;
        }
        // Its last transaction was ended by the database, or by a statement, and the client has not
        // noticed: it would refuse all further ones.
        conn.close().await?;
    }
}

/// The time: all processes of a database file have the clock of one machine.
fn now() -> i64 {
    micros(SystemTime::now())
}

/// A list as one parameter, for `json_each`.
fn list<T: serde::Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).unwrap_or_default()
}
