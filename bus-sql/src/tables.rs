//! The tables as the statements of this crate need them.

use crate::backend::Backend;
use crate::error::{SqlError, SqlErrorKind};
use crate::sql::Sql;

/// Tables with their columns, but for those that one database alone has.
const TABLES: [(&str, &str); 11] = [
    ("schema", "version readable_by component applied_at"),
    (
        "outbox",
        "id created_at ordering_key destination topology metadata body attempts",
    ),
    (
        "scheduled",
        "id due_at token created_at ordering_key destination topology metadata body",
    ),
    (
        "parked",
        "id created_at ordering_key destination topology metadata body attempts parked_at reason",
    ),
    ("topology", "id content"),
    ("relay", "part owner epoch lease_until"),
    ("inbox", "endpoint key fingerprint handled_at replies"),
    ("idempotency", "key fingerprint claim until done replies"),
    (
        "recurring",
        "name cron zone missed paused next_at destination topology metadata body changed_at",
    ),
    (
        "saga",
        "saga id revision state data meta keys created_at updated_at",
    ),
    ("saga_key", "saga name value id"),
];

/// Rights of a relay.
const OF_A_RELAY: [(&str, &str); 20] = [
    ("outbox", "SELECT"),
    ("outbox", "INSERT"),
    ("outbox", "UPDATE"),
    ("outbox", "DELETE"),
    ("scheduled", "SELECT"),
    ("scheduled", "DELETE"),
    ("parked", "INSERT"),
    ("topology", "SELECT"),
    ("relay", "SELECT"),
    ("relay", "UPDATE"),
    ("inbox", "SELECT"),
    ("inbox", "DELETE"),
    ("idempotency", "SELECT"),
    ("idempotency", "DELETE"),
    ("recurring", "SELECT"),
    ("recurring", "UPDATE"),
    ("saga", "SELECT"),
    ("saga", "DELETE"),
    ("saga_key", "SELECT"),
    ("saga_key", "DELETE"),
];

impl<DB: Backend> Sql<DB> {
    /// Refuses tables that lack a column: others may have made them, or changed them.
    pub(crate) async fn check_columns(&self) -> Result<(), SqlError> {
        for (table, columns) in TABLES {
            let there = DB::columns(self.pool(), self.names(), table).await?;
            let name = self.names().fill("{t}") + table;
            if there.is_empty() {
                let text = format!(
                    "the table {name} is not there: run the statements of Sql::migrations() that make it"
                );
                return Err(SqlError::new(SqlErrorKind::Schema, text));
            }
            let lacks = |column: &&str| !there.iter().any(|there| there == column);
            if let Some(column) = columns.split(' ').find(lacks) {
                let error = format!("{name} has no column {column}");
                return Err(SqlError::foreign_table(self.names().prefix(), &error));
            }
        }
        Ok(())
    }

    /// Refuses tables that a relay may not use.
    pub(crate) async fn check_rights(&self) -> Result<(), SqlError> {
        let missing = DB::missing_rights(self.pool(), self.names(), &OF_A_RELAY).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let text = format!(
            "the user of the database may not use the tables as a relay must: GRANT {}",
            missing.join(", ")
        );
        Err(SqlError::new(SqlErrorKind::Schema, text))
    }
}
