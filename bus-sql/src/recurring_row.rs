//! Messages that are sent again and again, as a table has them.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Database, Pool, Result};
use uuid::Uuid;

use crate::names::Names;

/// Row of the table of recurring messages.
#[derive(Clone, Debug)]
pub struct RecurringRow {
    pub(crate) name: String,
    pub(crate) cron: String,
    pub(crate) zone: String,
    pub(crate) missed: i16,
    pub(crate) paused: bool,
    /// In microseconds since 1970.
    pub(crate) next_at: Option<i64>,
    pub(crate) destination: String,
    pub(crate) topology: Option<Uuid>,
    pub(crate) metadata: String,
    pub(crate) body: Vec<u8>,
}

/// Columns of a row, in the order of its fields.
pub(crate) type Columns = (
    String,
    String,
    String,
    i16,
    bool,
    Option<i64>,
    String,
    Option<Uuid>,
    String,
    Vec<u8>,
);

impl From<Columns> for RecurringRow {
    fn from(columns: Columns) -> Self {
        let (name, cron, zone, missed, paused, next_at, destination, topology, metadata, body) =
            columns;
        Self {
            name,
            cron,
            zone,
            missed,
            paused,
            next_at,
            destination,
            topology,
            metadata,
            body,
        }
    }
}

/// Messages that are sent again and again. Times are microseconds since 1970.
#[async_trait]
pub trait RecurringTable: Database {
    /// Returns the time of the database.
    async fn now(pool: &Pool<Self>, names: &Names) -> Result<i64>;

    /// Writes a row.
    ///
    /// Keeps the time of one with the same cron line and zone, and the pause.
    async fn set_recurring(
        conn: &mut Self::Connection,
        names: &Names,
        row: &RecurringRow,
        next: Option<i64>,
    ) -> Result<()>;

    /// Returns the rows whose time has come, at most a hundred.
    async fn due_recurring(pool: &Pool<Self>, names: &Names) -> Result<Vec<RecurringRow>>;

    /// Returns the time until one is due; `None` if there is none.
    async fn next_recurring(pool: &Pool<Self>, names: &Names) -> Result<Option<Duration>>;

    /// Sets the next time of a row, unless another one has done it, or it was changed.
    async fn advance_recurring(
        conn: &mut Self::Connection,
        names: &Names,
        row: &RecurringRow,
        next: Option<i64>,
    ) -> Result<bool>;

    /// Returns the row of a name.
    async fn recurring(
        pool: &Pool<Self>,
        names: &Names,
        name: &str,
    ) -> Result<Option<RecurringRow>>;

    /// Returns all rows, by name.
    async fn all_recurring(pool: &Pool<Self>, names: &Names) -> Result<Vec<RecurringRow>>;

    /// Pauses a row; `false` if there is none.
    async fn pause_recurring(pool: &Pool<Self>, names: &Names, name: &str) -> Result<bool>;

    /// Ends the pause of a row; `false` if there is none.
    async fn resume_recurring(
        pool: &Pool<Self>,
        names: &Names,
        name: &str,
        next: Option<i64>,
    ) -> Result<bool>;

    /// Deletes a row; `false` if there is none.
    async fn remove_recurring(pool: &Pool<Self>, names: &Names, name: &str) -> Result<bool>;
}
