//! The two databases.

use sqlx::Database;

use crate::recurring_row::RecurringTable;
use crate::store::{
    IdempotencyTable, InboxTable, OperatorTables, OutboxTable, RelayTable, SagaTable, Schema,
};

/// PostgreSQL or SQLite.
///
/// Implemented for [`sqlx::Postgres`] and [`sqlx::Sqlite`], with the feature of that name; it
/// cannot be implemented outside of this crate.
pub trait Backend:
    Database
    + Schema
    + InboxTable
    + OutboxTable
    + RelayTable
    + RecurringTable
    + IdempotencyTable
    + SagaTable
    + OperatorTables
{
}

#[cfg(feature = "postgres")]
impl Backend for sqlx::Postgres {}

#[cfg(feature = "sqlite")]
impl Backend for sqlx::Sqlite {}
