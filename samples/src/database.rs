//! The databases of the services: SQLite in a file, or PostgreSQL.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use bus_core::ConsumeError;
use bus_core::transport::Backoff;
use bus_sql::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use bus_sql::sqlx::{self, Error, PgPool, SqlitePool};
use bus_sql::{SqlError, SqlErrorKind};

/// Connections of a process: one for each delivery of its busiest endpoint, one for a query, and
/// three for the relay.
const CONNECTIONS: u32 = 8;

/// Time for which a process waits for another one that writes into the same file.
const BUSY: Duration = Duration::from_secs(30);

/// Locked while tables are created: PostgreSQL refuses to create one twice at the same moment.
const CREATING: &str = "SELECT pg_advisory_xact_lock(7310589)";

/// Place of the tables of a service. Never shows a password.
#[derive(Clone)]
pub enum Database {
    /// A file, which the processes of one machine can share.
    Sqlite(Box<SqliteConnectOptions>),
    /// A database of a server, which the processes of all machines can share.
    Postgres(Box<PgConnectOptions>),
}

/// Error of a database that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the database {database} cannot be used: {source}")]
pub struct Unusable {
    database: Database,
    source: Error,
}

impl Database {
    /// Names the SQLite database of a file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::Sqlite(Box::new(SqliteConnectOptions::new().filename(path)))
    }

    pub(crate) fn unusable(&self, source: Error) -> Unusable {
        let database = self.clone();
        Unusable { database, source }
    }
}

impl FromStr for Database {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite(Box::new(url.parse()?))),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(Box::new(url.parse()?))),
            // The text may have a password in it.
            _ => Err(Error::Configuration(
                "its address is neither `sqlite:FILE` nor `postgres://user:password@host/name`"
                    .into(),
            )),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(options) => write!(f, "sqlite:{}", options.get_filename().display()),
            Self::Postgres(options) => {
                let (host, port) = (options.get_host(), options.get_port());
                let name = options.get_database().unwrap_or_default();
                write!(f, "postgres://{host}:{port}/{name}")
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Opens a file, and creates it and the tables that are not there.
pub async fn open_file(
    options: &SqliteConnectOptions,
    tables: &[&'static str],
) -> Result<SqlitePool, Error> {
    let options = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(BUSY);
    let connect = || {
        SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options.clone())
    };
    let pool = awaited(connect, is_busy).await?;
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    for table in tables {
        sqlx::query(*table).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(pool)
}

/// Connects to a server, and creates the tables that are not there. A server that is not up is
/// waited for.
pub async fn connect(options: &PgConnectOptions, tables: &[&'static str]) -> Result<PgPool, Error> {
    let connect = || {
        PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options.clone())
    };
    let pool = awaited(connect, is_away).await?;
    let mut tx = pool.begin().await?;
    sqlx::query(CREATING).execute(&mut *tx).await?;
    for table in tables {
        sqlx::query(*table).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(pool)
}

async fn awaited<T>(
    attempt: impl AsyncFn() -> Result<T, Error>,
    waits: fn(&Error) -> bool,
) -> Result<T, Error> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match attempt().await {
            Err(error) if waits(&error) => {
                tracing::warn!(%error, "the database does not answer; it is awaited");
                backoff.wait().await;
            }
            outcome => return outcome,
        }
    }
}

/// Another process prepares the file: it does not always let this one wait.
fn is_busy(error: &Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(|answer| answer.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

fn is_away(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::PoolTimedOut)
}

/// Judges an error outside of a transaction of the bus.
///
/// A database that is away is not the fault of the message.
pub fn consume_error(error: Error) -> ConsumeError {
    let error = SqlError::from(error);
    match error.kind() {
        SqlErrorKind::Unavailable => ConsumeError::unavailable(error),
        _ => error.into(),
    }
}

/// An amount as SQL has it.
pub(crate) fn cents(amount: u64) -> Result<i64, Error> {
    amount
        .try_into()
        .map_err(|error| Error::Encode(Box::new(error)))
}

/// Implements a trait for connections to either database: the statements are the same, and their
/// types are not.
macro_rules! on_either {
    (impl $table:ident for Connection { $($methods:tt)* }) => {
        impl $table for bus_sql::sqlx::PgConnection { $($methods)* }
        impl $table for bus_sql::sqlx::SqliteConnection { $($methods)* }
    };
}
pub(crate) use on_either;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_shows_no_password() {
        let database: Database = "postgres://clerk:secret@db:5433/invoices"
            .parse()
            .expect("a URL");
        let error = database.unusable(Error::PoolTimedOut);
        for text in [
            database.to_string(),
            format!("{database:?}"),
            error.to_string(),
            format!("{error:?}"),
        ] {
            assert!(text.contains("postgres://db:5433/invoices"), "{text}");
            assert!(
                !text.contains("secret") && !text.contains("clerk"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_of_another_kind_is_refused_and_not_shown() {
        for url in [
            "mysql://clerk:secret@db/invoices",
            "secret.db",
            "",
            "postgres://clerk:secret@db:port/x",
        ] {
            let error = url.parse::<Database>().expect_err(url).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_without_its_folder_is_refused_at_once() {
        let error = open_file(
            &SqliteConnectOptions::new().filename("/not/there/x.db"),
            &[],
        )
        .await;
        assert!(
            error
                .expect_err("no folder")
                .to_string()
                .contains("unable to open")
        );
    }

    #[test]
    fn amounts_beyond_those_of_sql_are_refused() {
        assert_eq!(cents(995).ok(), Some(995));
        assert!(cents(u64::MAX).is_err());
    }
}
