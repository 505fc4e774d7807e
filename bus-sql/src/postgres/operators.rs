//! Views of the outbox in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgPool, Postgres, Result};

use crate::names::Names;
use crate::store::{OperatorTables, time};
use crate::views::{Backlog, Parked};

#[async_trait]
impl OperatorTables for Postgres {
    async fn backlog(pool: &PgPool, names: &Names) -> Result<Backlog> {
        // The first row of each partition; a look at all of them would read the whole table.
        let backlog = "SELECT (SELECT count(*) FROM {t}outbox), \
                              (SELECT count(*) FROM {t}scheduled), (SELECT count(*) FROM {t}parked), \
                              (SELECT extract(epoch FROM now() - min(first.created_at))::float8 \
                               FROM {t}relay r, LATERAL (SELECT created_at FROM {t}outbox o \
                                   WHERE o.part = r.part ORDER BY o.id LIMIT 1) first)";
        let (waiting, scheduled, parked, oldest): (i64, i64, i64, Option<f64>) =
            sqlx::query_as(names.sql(backlog)).fetch_one(pool).await?;
        let oldest = oldest.map(|secs| Duration::try_from_secs_f64(secs).unwrap_or_default());
        Ok(Backlog::new(waiting, scheduled, parked, oldest))
    }

    async fn parked(pool: &PgPool, names: &Names, limit: i64) -> Result<Vec<Parked>> {
        let parked = "SELECT id, destination, reason, (extract(epoch FROM parked_at) * 1000000)::int8, metadata \
                      FROM {t}parked ORDER BY id LIMIT $1";
        let parked: Vec<(i64, String, String, i64, String)> = sqlx::query_as(names.sql(parked))
            .bind(limit)
            .fetch_all(pool)
            .await?;
        let parked = parked.into_iter();
        Ok(parked
            .map(|(id, destination, reason, at, metadata)| Parked {
                id,
                destination,
                reason,
                parked_at: time(at),
                metadata,
            })
            .collect())
    }

    async fn unpark(pool: &PgPool, names: &Names, ids: &[i64]) -> Result<u64> {
        let unpark = "WITH back AS (DELETE FROM {t}parked WHERE id = ANY($1) RETURNING *) \
                      INSERT INTO {t}outbox (part, created_at, ordering_key, destination, topology, metadata, body) \
                      SELECT part, created_at, ordering_key, destination, topology, metadata, body \
                      FROM back ORDER BY id";
        let moved = sqlx::query(names.sql(unpark))
            .bind(ids)
            .execute(pool)
            .await?;
        Ok(moved.rows_affected())
    }

    async fn discard(pool: &PgPool, names: &Names, ids: &[i64]) -> Result<u64> {
        let discard = "DELETE FROM {t}parked WHERE id = ANY($1)";
        let discarded = sqlx::query(names.sql(discard))
            .bind(ids)
            .execute(pool)
            .await?;
        Ok(discarded.rows_affected())
    }
}
