//! Transactions and tables in SQLite.

use async_trait::async_trait;
use sqlx::{Result, Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::now;
use crate::error::SqlError;
use crate::migration::{Installed, Migration};
use crate::names::Names;
use crate::store::Schema;

static MIGRATIONS: [Migration; 3] = [
    Migration::new(1, 1, include_str!("v1.sql")),
    Migration::new(2, 1, include_str!("v2.sql")),
    Migration::new(3, 1, include_str!("sagas.sql")),
];

#[async_trait]
impl Schema for Sqlite {
    fn migrations() -> &'static [Migration] {
        &MIGRATIONS
    }

    async fn begin(pool: &SqlitePool) -> Result<Transaction<'static, Self>> {
        super::begin(pool).await
    }

    async fn abandon(mut tx: Transaction<'static, Self>) {
        // It is over where the disk was full, or where its user has ended it: the client would fail
        // to roll it back, and would count it from then on. Where it is not over, this has no
        // effect.
        let _ = sqlx::raw_sql("BEGIN").execute(&mut *tx).await;
        drop(tx);
    }

    async fn installed(pool: &SqlitePool, names: &Names) -> Result<Option<Installed>, SqlError> {
        let mut conn = pool.acquire().await?;
        installed(&mut conn, names).await
    }

    async fn migrate(pool: &SqlitePool, names: &Names, _: u16) -> Result<(), SqlError> {
        let mut tx = Self::begin(pool).await?;
        let from = installed(&mut tx, names).await?;
        let from = from.map_or(0, |installed| installed.version);
        for migration in MIGRATIONS
            .iter()
            .filter(|migration| migration.version > from)
        {
            apply(&mut tx, names, migration).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn partitions(pool: &SqlitePool, names: &Names) -> Result<u16> {
        let count = "SELECT count(*) FROM {t}relay WHERE part = 0";
        sqlx::query_scalar(names.sql(count)).fetch_one(pool).await
    }

    async fn columns(pool: &SqlitePool, names: &Names, table: &str) -> Result<Vec<String>> {
        let columns = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)");
        let columns = columns.bind(names.fill("{t}") + table);
        columns.fetch_all(pool).await
    }

    async fn missing_rights(
        pool: &SqlitePool,
        names: &Names,
        _: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        // The one right is that of the file; to begin a transaction does not need it.
        let write = sqlx::query(names.sql("DELETE FROM {t}relay WHERE part < 0"));
        match write.execute(pool).await {
            Err(error) if is_read_only(&error) => Err(error),
            // Also while another writer is busy.
            _ => Ok(Vec::new()),
        }
    }

    async fn connections(pool: &SqlitePool, _: usize, _: usize) -> Result<usize> {
        let in_memory = "SELECT file = '' FROM pragma_database_list WHERE name = 'main'";
        let in_memory: bool = sqlx::query_scalar(in_memory).fetch_one(pool).await?;
        // One of all connections writes. With one more, the relay and the application read
        // meanwhile; a database in memory has a single one.
        Ok(if in_memory { 1 } else { 2 })
    }
}

async fn installed(
    conn: &mut SqliteConnection,
    names: &Names,
) -> Result<Option<Installed>, SqlError> {
    let exists = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1";
    let exists: i64 = sqlx::query_scalar(exists)
        .bind(format!("{}schema", names.prefix()))
        .fetch_one(&mut *conn)
        .await?;
    if exists == 0 {
        return Ok(None);
    }
    let version = "SELECT version, readable_by FROM {t}schema WHERE component = 'bus-sql' \
                   ORDER BY version DESC LIMIT 1";
    let found = sqlx::query_as(names.sql(version))
        .fetch_optional(conn)
        .await;
    let found: Option<(i32, i32)> =
        found.map_err(|error| foreign_or(names, "no such column", error))?;
    let (version, readable_by) = found.unwrap_or_default();
    Ok(Some(Installed {
        version,
        readable_by,
    }))
}

async fn apply(
    conn: &mut SqliteConnection,
    names: &Names,
    migration: &Migration,
) -> Result<(), SqlError> {
    let text = sqlx::AssertSqlSafe(names.fill(&migration.sql));
    let applied = sqlx::raw_sql(text).execute(&mut *conn).await;
    applied.map_err(|error| foreign_or(names, "already", error))?;
    let done = "INSERT INTO {t}schema (version, readable_by, applied_at) VALUES ($1, $2, $3)";
    sqlx::query(names.sql(done))
        .bind(migration.version)
        .bind(migration.readable_by)
        .bind(now())
        .execute(conn)
        .await?;
    Ok(())
}

fn is_read_only(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 8)
}

/// SQLite has one code for these errors, and texts.
fn foreign_or(names: &Names, text: &str, error: sqlx::Error) -> SqlError {
    match &error {
        sqlx::Error::Database(answer) if answer.message().contains(text) => {
            SqlError::foreign_table(names.prefix(), &error.to_string()).with_source(error)
        }
        _ => error.into(),
    }
}
