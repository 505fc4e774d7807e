//! The outbox in PostgreSQL, as writers see it.

use std::time::SystemTime;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres, Result};
use uuid::Uuid;

use crate::error::SqlError;
use crate::names::Names;
use crate::row::OutboxRow;
use crate::store::{OutboxTable, span};

#[async_trait]
impl OutboxTable for Postgres {
    const INSERT: &'static str = "INSERT INTO {t}outbox (part, ordering_key, destination, topology, metadata, body) \
                                  VALUES ($1, $2, $3, $4, $5, $6)";

    const SCHEDULE: &'static str = "INSERT INTO {t}scheduled \
                                        (part, ordering_key, destination, topology, metadata, body, due_at, token) \
                                    VALUES ($1, $2, $3, $4, $5, $6, \
                                            'epoch'::timestamptz + make_interval(secs => $7::int8 / 1e6), $8)";

    async fn write(
        conn: &mut PgConnection,
        names: &Names,
        rows: &[OutboxRow],
        mark: Option<i64>,
    ) -> Result<(), SqlError> {
        if rows.is_empty() {
            return check(conn, mark).await;
        }
        let (now, later): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.due.is_none());
        if !now.is_empty() {
            insert(conn, names, &now, mark).await?;
        }
        if !later.is_empty() {
            schedule(conn, names, &later, mark).await?;
        }
        Ok(())
    }

    async fn write_topologies(
        conn: &mut PgConnection,
        names: &Names,
        topologies: &[(Uuid, String)],
    ) -> Result<()> {
        let (ids, contents): (Vec<Uuid>, Vec<&str>) = topologies
            .iter()
            .map(|(id, content)| (*id, content.as_str()))
            .unzip();
        // In one order, so that no two transactions wait for each other.
        let write = "INSERT INTO {t}topology (id, content) \
                     SELECT id, content FROM UNNEST($1::uuid[], $2::text[]) AS n (id, content) ORDER BY id \
                     ON CONFLICT DO NOTHING";
        sqlx::query(names.sql(write))
            .bind(ids)
            .bind(contents)
            .execute(conn)
            .await?;
        Ok(())
    }

    async fn topology(pool: &PgPool, names: &Names, id: Uuid) -> Result<Option<String>> {
        let find = "SELECT content FROM {t}topology WHERE id = $1";
        let found = sqlx::query_scalar(names.sql(find)).bind(id);
        found.fetch_optional(pool).await
    }

    async fn cancel(conn: &mut PgConnection, names: &Names, token: Uuid) -> Result<u64> {
        let cancel = "DELETE FROM {t}scheduled WHERE token = $1";
        let cancelled = sqlx::query(names.sql(cancel)).bind(token);
        Ok(cancelled.execute(conn).await?.rows_affected())
    }
}

/// Checks that the transaction is still the one of the mark.
///
/// The commit of an aborted one would be no error.
async fn check(conn: &mut PgConnection, mark: Option<i64>) -> Result<(), SqlError> {
    let same = "SELECT $1::int8 IS NULL OR txid_current_if_assigned() IS NOT DISTINCT FROM $1";
    let same: bool = sqlx::query_scalar(same)
        .bind(mark)
        .fetch_one(conn)
        .await
        .map_err(aborted)?;
    if same { Ok(()) } else { Err(SqlError::ended()) }
}

/// One statement for all rows: `UNNEST` keeps their order, and so do their ids.
async fn insert(
    conn: &mut PgConnection,
    names: &Names,
    rows: &[&OutboxRow],
    mark: Option<i64>,
) -> Result<(), SqlError> {
    let insert = "INSERT INTO {t}outbox (part, ordering_key, destination, topology, metadata, body) \
                  SELECT * FROM UNNEST($1::int2[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::bytea[]) \
                  WHERE $7::int8 IS NULL OR txid_current_if_assigned() IS NOT DISTINCT FROM $7";
    let columns = Columns::of(rows);
    let written = sqlx::query(names.sql(insert))
        .bind(columns.part)
        .bind(columns.ordering_key)
        .bind(columns.destination)
        .bind(columns.topology)
        .bind(columns.metadata)
        .bind(columns.body)
        .bind(mark)
        .execute(conn)
        .await
        .map_err(aborted)?;
    all(written.rows_affected(), rows)
}

async fn schedule(
    conn: &mut PgConnection,
    names: &Names,
    rows: &[&OutboxRow],
    mark: Option<i64>,
) -> Result<(), SqlError> {
    let schedule = "INSERT INTO {t}scheduled (due_at, token, part, ordering_key, destination, topology, metadata, body) \
                    SELECT clock_timestamp() + make_interval(secs => due / 1e6), token, \
                           part, ordering_key, destination, topology, metadata, body \
                    FROM UNNEST($1::int8[], $2::uuid[], $3::int2[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::bytea[]) \
                         AS r (due, token, part, ordering_key, destination, topology, metadata, body) \
                    WHERE $9::int8 IS NULL OR txid_current_if_assigned() IS NOT DISTINCT FROM $9";
    let columns = Columns::of(rows);
    // By the clock of the database, which may differ from that of this process.
    let wait = |due: SystemTime| span(due.duration_since(SystemTime::now()).unwrap_or_default());
    let due = rows.iter().filter_map(|row| row.due).map(wait);
    let due: Vec<_> = due
        .map(|wait| i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
        .collect();
    let token: Vec<_> = rows.iter().map(|row| row.token).collect();
    let written = sqlx::query(names.sql(schedule))
        .bind(due)
        .bind(token)
        .bind(columns.part)
        .bind(columns.ordering_key)
        .bind(columns.destination)
        .bind(columns.topology)
        .bind(columns.metadata)
        .bind(columns.body)
        .bind(mark)
        .execute(conn)
        .await
        .map_err(aborted)?;
    all(written.rows_affected(), rows)
}

fn all(written: u64, rows: &[&OutboxRow]) -> Result<(), SqlError> {
    if usize::try_from(written) == Ok(rows.len()) {
        Ok(())
    } else {
        Err(SqlError::ended())
    }
}

/// An error in an aborted transaction is that of the statement that aborted it.
fn aborted(error: sqlx::Error) -> SqlError {
    match &error {
        sqlx::Error::Database(answer) if answer.code().as_deref() == Some("25P02") => {
            SqlError::ended().with_source(error)
        }
        _ => error.into(),
    }
}

/// The columns of rows, as arrays.
struct Columns<'a> {
    part: Vec<i16>,
    ordering_key: Vec<Option<&'a str>>,
    destination: Vec<&'a str>,
    topology: Vec<Option<Uuid>>,
    metadata: Vec<&'a str>,
    body: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(rows: &[&'a OutboxRow]) -> Self {
        let rows = || rows.iter();
        Self {
            part: rows().map(|row| row.part).collect(),
            ordering_key: rows().map(|row| row.ordering_key.as_deref()).collect(),
            destination: rows().map(|row| row.destination.as_str()).collect(),
            topology: rows().map(|row| row.topology).collect(),
            metadata: rows().map(|row| row.metadata.as_str()).collect(),
            body: rows().map(|row| &*row.body).collect(),
        }
    }
}
