//! Views of the outbox in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Result, Sqlite, SqlitePool};

use super::{begin, list, now};
use crate::names::Names;
use crate::store::{OperatorTables, time};
use crate::views::{Backlog, Parked};

#[async_trait]
impl OperatorTables for Sqlite {
    async fn backlog(pool: &SqlitePool, names: &Names) -> Result<Backlog> {
        let backlog = "SELECT (SELECT count(*) FROM {t}outbox), \
                              (SELECT count(*) FROM {t}scheduled), (SELECT count(*) FROM {t}parked), \
                              (SELECT created_at FROM {t}outbox ORDER BY id LIMIT 1)";
        let (waiting, scheduled, parked, oldest): (i64, i64, i64, Option<i64>) =
            sqlx::query_as(names.sql(backlog)).fetch_one(pool).await?;
        let age = |at: i64| Duration::from_micros((now() - at).try_into().unwrap_or_default());
        Ok(Backlog::new(waiting, scheduled, parked, oldest.map(age)))
    }

    async fn parked(pool: &SqlitePool, names: &Names, limit: i64) -> Result<Vec<Parked>> {
        // Bytes: what was edited by hand need not be text.
        let parked = "SELECT id, CAST(destination AS BLOB), reason, parked_at, CAST(metadata AS BLOB) \
                      FROM {t}parked ORDER BY id LIMIT $1";
        let parked: Vec<(i64, Vec<u8>, String, i64, Vec<u8>)> = sqlx::query_as(names.sql(parked))
            .bind(limit)
            .fetch_all(pool)
            .await?;
        let parked = parked.into_iter();
        Ok(parked
            .map(|(id, destination, reason, at, metadata)| Parked {
                id,
                destination: String::from_utf8_lossy(&destination).into_owned(),
                reason,
                parked_at: time(at),
                metadata: String::from_utf8_lossy(&metadata).into_owned(),
            })
            .collect())
    }

    async fn unpark(pool: &SqlitePool, names: &Names, ids: &[i64]) -> Result<u64> {
        let mut tx = begin(pool).await?;
        let unpark = "INSERT INTO {t}outbox (created_at, ordering_key, destination, topology, metadata, body) \
                      SELECT created_at, ordering_key, destination, topology, metadata, body FROM {t}parked \
                      WHERE id IN (SELECT value FROM json_each($1)) ORDER BY id";
        let moved = sqlx::query(names.sql(unpark))
            .bind(list(ids))
            .execute(&mut *tx)
            .await?;
        let delete = "DELETE FROM {t}parked WHERE id IN (SELECT value FROM json_each($1))";
        let delete = sqlx::query(names.sql(delete)).bind(list(ids));
        delete.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(moved.rows_affected())
    }

    async fn discard(pool: &SqlitePool, names: &Names, ids: &[i64]) -> Result<u64> {
        let discard = "DELETE FROM {t}parked WHERE id IN (SELECT value FROM json_each($1))";
        let discarded = sqlx::query(names.sql(discard))
            .bind(list(ids))
            .execute(pool)
            .await?;
        Ok(discarded.rows_affected())
    }
}
