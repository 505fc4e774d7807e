//! The outbox in PostgreSQL, as the relay sees it.
//!
//! The tables are empty at one moment and have a million rows at another, which the statistics of
//! the planner do not show. So rows are always read by their index, and other statements are
//! planned each time: a plan kept from a small table would read all of a large one.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgListener, PgRow};
use sqlx::{PgPool, Postgres, Result};
use uuid::Uuid;

use crate::detached::to_the_end;
use crate::error::SqlError;
use crate::names::Names;
use crate::row;
use crate::store::{RelayTable, Waiting, Without, span};

/// Begin of a transaction in which rows are read in the order of their index.
const BY_INDEX: &str =
    "BEGIN READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";

#[async_trait]
impl RelayTable for Postgres {
    const POLL: Duration = Duration::from_secs(1);
    const NOTIFIES: bool = true;

    async fn lease(
        pool: &PgPool,
        names: &Names,
        part: i16,
        owner: Uuid,
        lease: Duration,
    ) -> Result<Option<i64>> {
        // One that ends later than any that is taken now was taken before the clock was set back.
        let take = "UPDATE {t}relay SET owner = $2, lease_until = now() + make_interval(secs => $3), \
                    epoch = CASE WHEN owner = $2 THEN epoch ELSE epoch + 1 END \
                    WHERE part = $1 AND (owner = $2 OR lease_until < now() \
                        OR lease_until > now() + make_interval(secs => 2 * $3)) RETURNING epoch";
        sqlx::query_scalar(names.sql(take))
            .bind(part)
            .bind(owner)
            .bind(span(lease).as_secs_f64())
            .fetch_optional(pool)
            .await
    }

    async fn release(pool: &PgPool, names: &Names, part: i16, owner: Uuid) -> Result<()> {
        let release = "UPDATE {t}relay SET owner = NULL, lease_until = '-infinity' \
                       WHERE part = $1 AND owner = $2";
        let release = sqlx::query(names.sql(release)).bind(part).bind(owner);
        release.execute(pool).await?;
        Ok(())
    }

    async fn waiting(
        pool: &PgPool,
        names: &Names,
        part: i16,
        after: i64,
        without: &Without,
        limit: i64,
    ) -> Result<Vec<Waiting>, SqlError> {
        let pool = pool.clone();
        let mut tx = to_the_end(async move { pool.begin_with(BY_INDEX).await }).await?;
        // `<> ALL` would compare each row with each id.
        let waiting = "SELECT id, ordering_key, destination, topology, metadata, body, attempts \
                       FROM {t}outbox WHERE part = $1 AND id > $2 \
                       AND id NOT IN (SELECT unnest($3::int8[])) \
                       AND (ordering_key IS NOT NULL OR destination <> ALL($4)) \
                       AND (ordering_key IS NULL OR ordering_key <> ALL($5)) ORDER BY id LIMIT $6";
        let rows = sqlx::query(names.sql(waiting))
            .bind(part)
            .bind(after)
            .bind(&without.rows)
            .bind(&without.destinations)
            .bind(&without.keys)
            .bind(limit)
            .try_map(|row: PgRow| row::waiting(&row))
            .fetch_all(&mut *tx)
            .await?;
        tx.rollback().await?;
        Ok(rows)
    }

    async fn delete(pool: &PgPool, names: &Names, part: i16, ids: &[i64]) -> Result<()> {
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else {
            return Ok(());
        };
        // The disk is not waited for: a row that a crash of the server brings back is sent again.
        // Without its ends, many ids may be looked for among all rows of the partition.
        let delete = "DELETE FROM {t}outbox USING (SELECT set_config('synchronous_commit', 'off', true)) s \
                      WHERE part = $1 AND id BETWEEN $3 AND $4 AND id = ANY($2)";
        let delete = sqlx::query(names.sql(delete)).bind(part).bind(ids);
        let delete = delete.bind(first).bind(last).persistent(false);
        delete.execute(pool).await?;
        Ok(())
    }

    async fn count_attempt(pool: &PgPool, names: &Names, part: i16, ids: &[i64]) -> Result<()> {
        let count = "UPDATE {t}outbox SET attempts = least(attempts + 1, 1000) \
                     WHERE part = $1 AND id = ANY($2)";
        let count = sqlx::query(names.sql(count)).bind(part).bind(ids);
        count.persistent(false).execute(pool).await?;
        Ok(())
    }

    async fn park(pool: &PgPool, names: &Names, part: i16, id: i64, reason: &str) -> Result<()> {
        let aside = "WITH gone AS (DELETE FROM {t}outbox WHERE part = $1 AND id = $2 RETURNING *) \
                    INSERT INTO {t}parked (part, id, created_at, ordering_key, destination, topology, \
                                           metadata, body, attempts, reason) \
                    SELECT part, id, created_at, ordering_key, destination, topology, \
                           metadata, body, attempts, $3 FROM gone";
        let moved = sqlx::query(names.sql(aside)).bind(part).bind(id);
        moved.bind(reason.replace('\0', "")).execute(pool).await?;
        Ok(())
    }

    async fn move_due(pool: &PgPool, names: &Names, part: i16) -> Result<u64> {
        let due = "WITH due AS (DELETE FROM {t}scheduled WHERE id = ANY(ARRAY( \
                       SELECT id FROM {t}scheduled WHERE part = $1 AND due_at <= now() \
                       ORDER BY due_at, id LIMIT 1000)) RETURNING *) \
                   INSERT INTO {t}outbox (part, created_at, ordering_key, destination, topology, metadata, body) \
                   SELECT part, created_at, ordering_key, destination, topology, metadata, body \
                   FROM due ORDER BY due_at, id";
        let moved = sqlx::query(names.sql(due)).persistent(false).bind(part);
        Ok(moved.execute(pool).await?.rows_affected())
    }

    async fn next_due(pool: &PgPool, names: &Names, part: i16) -> Result<Option<Duration>> {
        let next = "SELECT extract(epoch FROM min(due_at) - now())::float8 \
                    FROM {t}scheduled WHERE part = $1";
        let next: Option<f64> = sqlx::query_scalar(names.sql(next))
            .persistent(false)
            .bind(part)
            .fetch_one(pool)
            .await?;
        let wait = |secs: f64| Duration::try_from_secs_f64(secs.max(0.0)).unwrap_or(Duration::MAX);
        Ok(next.map(wait))
    }

    async fn notify(pool: &PgPool, names: &Names) -> Result<()> {
        let notify = sqlx::query("SELECT pg_notify($1, '')").bind(channel(names));
        notify.execute(pool).await?;
        Ok(())
    }

    async fn listen(pool: &PgPool, names: &Names, woken: &(dyn Fn() + Send + Sync)) -> Result<()> {
        let mut listener = PgListener::connect_with(pool).await?;
        // The listener would otherwise take a connection of a pool that is being closed for gone.
        listener.ignore_pool_close_event(false);
        listener.listen(&channel(names)).await?;
        loop {
            // `None` means that the connection was lost, and notifications perhaps with it.
            listener.try_recv().await?;
            woken();
        }
    }
}

/// The channel of a service's outbox; one database has one set of channels.
fn channel(names: &Names) -> String {
    names.fill("{t}outbox")
}
