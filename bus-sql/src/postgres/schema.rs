//! Transactions and tables in PostgreSQL.

use std::borrow::Cow;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres, Result, Transaction};

use crate::error::{SqlError, SqlErrorKind};
use crate::migration::{Installed, Migration};
use crate::names::Names;
use crate::store::Schema;

static MIGRATIONS: [Migration; 3] = [
    Migration::new(1, 1, include_str!("v1.sql")),
    Migration::new(2, 1, include_str!("v2.sql")),
    Migration::new(3, 1, include_str!("sagas.sql")),
];

#[async_trait]
impl Schema for Postgres {
    fn migrations() -> &'static [Migration] {
        &MIGRATIONS
    }

    async fn begin(pool: &PgPool) -> Result<Transaction<'static, Self>> {
        // One message to the server. A lock of another delivery is not waited for without end.
        pool.begin_with("BEGIN; SET LOCAL lock_timeout = '5s'")
            .await
    }

    async fn abandon(tx: Transaction<'static, Self>) {
        // The pool rolls it back. A statement that its user was dropped in may still run, and is
        // not waited for here.
        drop(tx);
    }

    async fn installed(pool: &PgPool, names: &Names) -> Result<Option<Installed>, SqlError> {
        let mut conn = pool.acquire().await?;
        installed(&mut conn, names).await
    }

    async fn migrate(pool: &PgPool, names: &Names, partitions: u16) -> Result<(), SqlError> {
        let mut tx = pool.begin().await?;
        // Held to the end of the transaction: processes that start at once migrate one by one.
        let lock = names.fill("bus-sql {t}");
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(lock)
            .execute(&mut *tx)
            .await?;
        create_schema(&mut tx, names)
            .await
            .map_err(|error| refused(names, error))?;
        let from = installed(&mut tx, names).await?;
        let from = from.map_or(0, |installed| installed.version);
        for migration in MIGRATIONS
            .iter()
            .filter(|migration| migration.version > from)
        {
            apply(&mut tx, names, migration).await?;
        }
        if from == 0 {
            let more = "INSERT INTO {t}relay (part) SELECT generate_series(1, $1::int4 - 1)";
            let more = sqlx::query(names.sql(more)).bind(i32::from(partitions));
            more.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn partitions(pool: &PgPool, names: &Names) -> Result<u16> {
        let count = "SELECT count(*) FROM {t}relay";
        let count: i64 = sqlx::query_scalar(names.sql(count)).fetch_one(pool).await?;
        Ok(u16::try_from(count).unwrap_or(u16::MAX))
    }

    async fn columns(pool: &PgPool, names: &Names, table: &str) -> Result<Vec<String>> {
        let columns = "SELECT attname::text FROM pg_attribute \
                       WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
        let columns = sqlx::query_scalar(columns).bind(names.fill("{t}") + table);
        columns.fetch_all(pool).await
    }

    async fn missing_rights(
        pool: &PgPool,
        names: &Names,
        needed: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        let missing = "SELECT privilege || ' ON ' || name FROM UNNEST($1::text[], $2::text[]) AS n (name, privilege) \
                       WHERE NOT has_table_privilege(name, privilege)";
        let tables: Vec<_> = needed
            .iter()
            .map(|(table, _)| names.fill("{t}") + table)
            .collect();
        let privileges: Vec<_> = needed.iter().map(|(_, privilege)| *privilege).collect();
        let missing = sqlx::query_scalar(missing).bind(tables).bind(privileges);
        missing.fetch_all(pool).await
    }

    async fn connections(_: &PgPool, deliveries: usize, relays: usize) -> Result<usize> {
        // One listens for all relays, and one forgets what is old.
        let beside = if relays == 0 { 0 } else { 2 };
        Ok(deliveries + relays + beside)
    }
}

async fn installed(conn: &mut PgConnection, names: &Names) -> Result<Option<Installed>, SqlError> {
    // From the catalog: the function alone is answered from what the connection found before.
    let exists = "SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass($1))";
    let exists: bool = sqlx::query_scalar(exists)
        .bind(names.fill("{t}schema"))
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        return Ok(None);
    }
    let version = "SELECT version, readable_by FROM {t}schema WHERE component = 'bus-sql' \
                   ORDER BY version DESC LIMIT 1";
    let found = sqlx::query_as(names.sql(version))
        .fetch_optional(conn)
        .await;
    let found: Option<(i32, i32)> = found.map_err(|error| match code(&error).as_deref() {
        Some("42703") => foreign(names, error),
        _ => error.into(),
    })?;
    let (version, readable_by) = found.unwrap_or_default();
    Ok(Some(Installed {
        version,
        readable_by,
    }))
}

async fn create_schema(conn: &mut PgConnection, names: &Names) -> Result<()> {
    let Some(schema) = names.schema() else {
        return Ok(());
    };
    // Also `IF NOT EXISTS` needs the right to create one.
    let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    let exists: bool = sqlx::query_scalar(exists)
        .bind(schema)
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        let create = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
        sqlx::query(create).execute(conn).await?;
    }
    Ok(())
}

async fn apply(
    conn: &mut PgConnection,
    names: &Names,
    migration: &Migration,
) -> Result<(), SqlError> {
    let text = sqlx::AssertSqlSafe(names.fill(&migration.sql));
    let applied = sqlx::raw_sql(text).execute(&mut *conn).await;
    applied.map_err(|error| refused(names, error))?;
    let done = "INSERT INTO {t}schema (version, readable_by) VALUES ($1, $2)";
    sqlx::query(names.sql(done))
        .bind(migration.version)
        .bind(migration.readable_by)
        .execute(conn)
        .await?;
    Ok(())
}

/// An error of statements that make something.
fn refused(names: &Names, error: sqlx::Error) -> SqlError {
    match code(&error).as_deref() {
        // A table or index, or the type of a table.
        Some("42P07" | "42710") => foreign(names, error),
        Some("42501") => forbidden(error),
        _ => error.into(),
    }
}

fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

fn foreign(names: &Names, error: sqlx::Error) -> SqlError {
    SqlError::foreign_table(names.prefix(), &error.to_string()).with_source(error)
}

fn forbidden(error: sqlx::Error) -> SqlError {
    let text = format!(
        "the tables of the outbox may not be created with these rights ({error}): run the statements of \
         Sql::migrations() as their owner, and set without_migrations()"
    );
    SqlError::new(SqlErrorKind::Schema, text).with_source(error)
}
