//! Errors of the database, by what can be done about them.

use std::error::Error;

/// Kind of a [`SqlError`], by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SqlErrorKind {
    /// A setting is wrong: the address, the user, the prefix, the number of partitions.
    Configuration,
    /// The tables are missing, foreign, of another version, or may not be used.
    Schema,
    /// The database could not be reached, or has no room, connection or lock now.
    ///
    /// The same work may go through later. After a failed commit it may have gone through already.
    Unavailable,
    /// The database ended the transaction in favour of another.
    ///
    /// The same work may go through now.
    Conflict,
    /// The consumer ended the transaction of its delivery, or left it aborted.
    Ended,
    /// The database refused the statement.
    Database,
}

/// Error of the database or of the settings for it.
///
/// [`kind`](Self::kind) says what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    kind: SqlErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SqlError {
    pub(crate) fn new(kind: SqlErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An error of the transaction that its user has ended.
    pub(crate) fn ended() -> Self {
        let text = "the transaction of the delivery was ended, or aborted by a statement whose error was \
                    ignored, before the consumer returned; its result alone decides about it";
        Self::new(SqlErrorKind::Ended, text)
    }

    /// An error of tables that have our names, and not our columns.
    pub(crate) fn foreign_table(prefix: &str, error: &str) -> Self {
        let text = format!(
            "a table whose name begins with `{prefix}` is not one of bus-sql ({error}): choose another table_prefix or schema"
        );
        Self::new(SqlErrorKind::Schema, text)
    }

    /// An error of a column that was written by other means.
    pub(crate) fn unreadable(error: impl Error + Send + Sync + 'static) -> Self {
        let text = format!("a row cannot be read: {error}");
        Self::new(SqlErrorKind::Database, text).with_source(error)
    }

    /// Returns the kind: what the caller can do about the error.
    pub fn kind(&self) -> SqlErrorKind {
        self.kind
    }
}

impl From<sqlx::Error> for SqlError {
    fn from(error: sqlx::Error) -> Self {
        Self::new(kind_of(&error), error.to_string()).with_source(error)
    }
}

/// The kind of an error of the database client.
pub(crate) fn kind_of(error: &sqlx::Error) -> SqlErrorKind {
    use sqlx::Error as E;
    match error {
        E::Database(answer) if names_no_table(answer.message()) => SqlErrorKind::Schema,
        E::Database(answer) => answer
            .code()
            .map_or(SqlErrorKind::Database, |code| of_code(&code)),
        E::Io(_)
        | E::Tls(_)
        | E::Protocol(_)
        | E::PoolTimedOut
        | E::PoolClosed
        | E::WorkerCrashed
        | E::BeginFailed => SqlErrorKind::Unavailable,
        E::Configuration(_) => SqlErrorKind::Configuration,
        _ => SqlErrorKind::Database,
    }
}

/// SQLite has one code for all mistakes in statements, and texts.
fn names_no_table(message: &str) -> bool {
    message.starts_with("no such table: ") || message.starts_with("no such column: ")
}

/// The kind of an error code: five characters of SQLSTATE, or a number of SQLite.
fn of_code(code: &str) -> SqlErrorKind {
    if code.len() == 5 {
        return of_state(code);
    }
    match code.parse::<u32>() {
        // SQLITE_BUSY_SNAPSHOT: another connection wrote since this transaction began to read.
        Ok(517) => SqlErrorKind::Conflict,
        // BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN: the lower byte.
        Ok(code) if matches!(code & 0xff, 5..=10 | 13 | 14) => SqlErrorKind::Unavailable,
        // NOTADB.
        Ok(26) => SqlErrorKind::Configuration,
        _ => SqlErrorKind::Database,
    }
}

fn of_state(state: &str) -> SqlErrorKind {
    match state {
        // Serialisation failure, deadlock.
        "40001" | "40P01" => SqlErrorKind::Conflict,
        // A statement that takes too long does so again.
        "57014" => SqlErrorKind::Database,
        // No such database, or no access to it.
        "3D000" => SqlErrorKind::Configuration,
        _ if state.starts_with("28") => SqlErrorKind::Configuration,
        // No right, no schema, no table, no column.
        "42501" | "3F000" | "42P01" | "42703" => SqlErrorKind::Schema,
        // Lock timeout, read-only after a fail-over.
        "55P03" | "25006" => SqlErrorKind::Unavailable,
        // Connection, resources, operator intervention, system.
        _ if ["08", "53", "57", "58"].contains(&&state[..2]) => SqlErrorKind::Unavailable,
        _ => SqlErrorKind::Database,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_can_be_done() {
        let kinds = [
            ("40001", SqlErrorKind::Conflict),
            ("40P01", SqlErrorKind::Conflict),
            ("57P01", SqlErrorKind::Unavailable),
            ("08006", SqlErrorKind::Unavailable),
            ("53300", SqlErrorKind::Unavailable),
            ("55P03", SqlErrorKind::Unavailable),
            ("57014", SqlErrorKind::Database),
            ("42501", SqlErrorKind::Schema),
            ("42P01", SqlErrorKind::Schema),
            ("28P01", SqlErrorKind::Configuration),
            ("3D000", SqlErrorKind::Configuration),
            ("23505", SqlErrorKind::Database),
            ("5", SqlErrorKind::Unavailable),
            ("261", SqlErrorKind::Unavailable),
            ("517", SqlErrorKind::Conflict),
            ("8", SqlErrorKind::Unavailable),
            ("13", SqlErrorKind::Unavailable),
            ("26", SqlErrorKind::Configuration),
            ("11", SqlErrorKind::Database),
            ("2067", SqlErrorKind::Database),
        ];
        for (code, kind) in kinds {
            assert_eq!(of_code(code), kind, "{code}");
        }
    }
}
