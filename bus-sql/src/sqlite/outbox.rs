//! The outbox in SQLite, as writers see it.

use async_trait::async_trait;
use sqlx::{Result, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::{micros, now};
use crate::error::SqlError;
use crate::names::Names;
use crate::row::OutboxRow;
use crate::store::OutboxTable;

#[async_trait]
impl OutboxTable for Sqlite {
    // The parameters of PostgreSQL, of which `part` has no column here.
    const INSERT: &'static str = "INSERT INTO {t}outbox (created_at, ordering_key, destination, topology, metadata, body) \
                                  VALUES (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), \
                                          ?2, ?3, ?4, ?5, ?6)";

    const SCHEDULE: &'static str = "INSERT INTO {t}scheduled \
                                        (created_at, ordering_key, destination, topology, metadata, body, due_at, token) \
                                    VALUES (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), \
                                            ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

    async fn write(
        conn: &mut SqliteConnection,
        names: &Names,
        rows: &[OutboxRow],
        mark: Option<i64>,
    ) -> Result<(), SqlError> {
        if mark.is_some() {
            let release = sqlx::query("RELEASE bus_attempt").execute(&mut *conn).await;
            release.map_err(|error| SqlError::ended().with_source(error))?;
        }
        for row in rows {
            match row.due {
                None => insert(conn, names, row).await?,
                Some(due) => schedule(conn, names, row, micros(due)).await?,
            }
        }
        Ok(())
    }

    async fn write_topologies(
        conn: &mut SqliteConnection,
        names: &Names,
        topologies: &[(Uuid, String)],
    ) -> Result<()> {
        for (id, content) in topologies {
            let write =
                "INSERT INTO {t}topology (id, content) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            let write = sqlx::query(names.sql(write)).bind(id).bind(content);
            write.execute(&mut *conn).await?;
        }
        Ok(())
    }

    async fn topology(pool: &SqlitePool, names: &Names, id: Uuid) -> Result<Option<String>> {
        let find = "SELECT content FROM {t}topology WHERE id = $1";
        let found = sqlx::query_scalar(names.sql(find)).bind(id);
        found.fetch_optional(pool).await
    }

    async fn cancel(conn: &mut SqliteConnection, names: &Names, token: Uuid) -> Result<u64> {
        let cancel = "DELETE FROM {t}scheduled WHERE token = $1";
        let cancelled = sqlx::query(names.sql(cancel)).bind(token);
        Ok(cancelled.execute(conn).await?.rows_affected())
    }
}

async fn insert(conn: &mut SqliteConnection, names: &Names, row: &OutboxRow) -> Result<()> {
    let insert = "INSERT INTO {t}outbox (created_at, ordering_key, destination, topology, metadata, body) \
                  VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(names.sql(insert))
        .bind(now())
        .bind(&row.ordering_key)
        .bind(&row.destination)
        .bind(row.topology)
        .bind(&row.metadata)
        .bind(&*row.body)
        .execute(conn)
        .await?;
    Ok(())
}

async fn schedule(
    conn: &mut SqliteConnection,
    names: &Names,
    row: &OutboxRow,
    due: i64,
) -> Result<()> {
    let schedule = "INSERT INTO {t}scheduled (due_at, token, created_at, ordering_key, destination, topology, \
                    metadata, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(names.sql(schedule))
        .bind(due)
        .bind(row.token)
        .bind(now())
        .bind(&row.ordering_key)
        .bind(&row.destination)
        .bind(row.topology)
        .bind(&row.metadata)
        .bind(&*row.body)
        .execute(conn)
        .await?;
    Ok(())
}
