//! SQLite.

mod idempotency;
mod inbox;
mod operators;
mod outbox;
mod relay;
mod schema;

use std::time::SystemTime;

use crate::store::micros;

/// The time: all processes of a database file have the clock of one machine.
fn now() -> i64 {
    micros(SystemTime::now())
}

/// A list as one parameter, for `json_each`.
fn list<T: serde::Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).unwrap_or_default()
}
