//! The outbox in SQLite, as the relay sees it.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Result, Sqlite, SqlitePool};
use uuid::Uuid;

use super::{begin, list, now};
use crate::error::SqlError;
use crate::names::Names;
use crate::row;
use crate::store::{RelayTable, Waiting, Without, span};

#[async_trait]
impl RelayTable for Sqlite {
    /// A look costs some microseconds, and is the only way to hear of other processes.
    const POLL: Duration = Duration::from_millis(100);
    const NOTIFIES: bool = false;

    async fn lease(
        pool: &SqlitePool,
        names: &Names,
        part: i16,
        owner: Uuid,
        lease: Duration,
    ) -> Result<Option<i64>> {
        // One that ends later than any that is taken now was taken before the clock was set back.
        let take = "UPDATE {t}relay SET owner = $2, lease_until = $3, \
                    epoch = CASE WHEN owner = $2 THEN epoch ELSE epoch + 1 END \
                    WHERE part = $1 AND (owner = $2 OR lease_until < $4 OR lease_until > $5) RETURNING epoch";
        let now = now();
        let lease = i64::try_from(span(lease).as_micros()).unwrap_or_default();
        sqlx::query_scalar(names.sql(take))
            .bind(part)
            .bind(owner)
            .bind(now + lease)
            .bind(now)
            .bind(now + 2 * lease)
            .fetch_optional(pool)
            .await
    }

    async fn release(pool: &SqlitePool, names: &Names, part: i16, owner: Uuid) -> Result<()> {
        let release =
            "UPDATE {t}relay SET owner = NULL, lease_until = 0 WHERE part = $1 AND owner = $2";
        let release = sqlx::query(names.sql(release)).bind(part).bind(owner);
        release.execute(pool).await?;
        Ok(())
    }

    async fn waiting(
        pool: &SqlitePool,
        names: &Names,
        _: i16,
        after: i64,
        without: &Without,
        limit: i64,
    ) -> Result<Vec<Waiting>, SqlError> {
        let waiting = "SELECT id, ordering_key, destination, topology, metadata, body, attempts \
                       FROM {t}outbox WHERE id > $1 AND id NOT IN (SELECT value FROM json_each($2)) \
                       AND (ordering_key IS NOT NULL \
                            OR destination NOT IN (SELECT value FROM json_each($3))) \
                       AND (ordering_key IS NULL \
                            OR ordering_key NOT IN (SELECT value FROM json_each($4))) \
                       ORDER BY id LIMIT $5";
        let rows = sqlx::query(names.sql(waiting))
            .bind(after)
            .bind(list(&without.rows))
            .bind(list(&without.destinations))
            .bind(list(&without.keys))
            .bind(limit)
            .try_map(|row: SqliteRow| row::waiting(&row))
            .fetch_all(pool)
            .await?;
        Ok(rows)
    }

    async fn delete(pool: &SqlitePool, names: &Names, _: i16, ids: &[i64]) -> Result<()> {
        let delete = "DELETE FROM {t}outbox WHERE id IN (SELECT value FROM json_each($1))";
        let delete = sqlx::query(names.sql(delete)).bind(list(ids));
        delete.execute(pool).await?;
        Ok(())
    }

    async fn count_attempt(pool: &SqlitePool, names: &Names, _: i16, ids: &[i64]) -> Result<()> {
        let count = "UPDATE {t}outbox SET attempts = min(attempts + 1, 1000) \
                     WHERE id IN (SELECT value FROM json_each($1))";
        let count = sqlx::query(names.sql(count)).bind(list(ids));
        count.execute(pool).await?;
        Ok(())
    }

    async fn park(pool: &SqlitePool, names: &Names, _: i16, id: i64, reason: &str) -> Result<()> {
        let mut tx = begin(pool).await?;
        let park = "INSERT INTO {t}parked (id, created_at, ordering_key, destination, topology, metadata, body, \
                                           attempts, parked_at, reason) \
                    SELECT id, created_at, ordering_key, destination, topology, metadata, body, \
                           attempts, $2, $3 FROM {t}outbox WHERE id = $1";
        let park = sqlx::query(names.sql(park)).bind(id).bind(now());
        park.bind(reason).execute(&mut *tx).await?;
        let delete = sqlx::query(names.sql("DELETE FROM {t}outbox WHERE id = $1"));
        delete.bind(id).execute(&mut *tx).await?;
        tx.commit().await
    }

    async fn move_due(pool: &SqlitePool, names: &Names, part: i16) -> Result<u64> {
        // Without something due, no lock of the one writer is taken.
        if Self::next_due(pool, names, part).await? != Some(Duration::ZERO) {
            return Ok(0);
        }
        let mut tx = begin(pool).await?;
        let now = now();
        let moved = "INSERT INTO {t}outbox (created_at, ordering_key, destination, topology, metadata, body) \
                     SELECT created_at, ordering_key, destination, topology, metadata, body \
                     FROM {t}scheduled WHERE due_at <= $1 ORDER BY due_at, id";
        let moved = sqlx::query(names.sql(moved))
            .bind(now)
            .execute(&mut *tx)
            .await?;
        let delete = sqlx::query(names.sql("DELETE FROM {t}scheduled WHERE due_at <= $1"));
        delete.bind(now).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(moved.rows_affected())
    }

    async fn next_due(pool: &SqlitePool, names: &Names, _: i16) -> Result<Option<Duration>> {
        let next = sqlx::query_scalar(names.sql("SELECT min(due_at) FROM {t}scheduled"));
        let next: Option<i64> = next.fetch_one(pool).await?;
        Ok(next.map(|at| Duration::from_micros((at - now()).try_into().unwrap_or_default())))
    }

    async fn notify(_: &SqlitePool, _: &Names) -> Result<()> {
        Ok(())
    }

    async fn listen(_: &SqlitePool, _: &Names, _: &(dyn Fn() + Send + Sync)) -> Result<()> {
        std::future::pending().await
    }
}
