//! The idempotency store in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Result, Sqlite, SqlitePool};
use uuid::Uuid;

use super::now;
use crate::names::Names;
use crate::store::{IdempotencyTable, Taken, span};

#[async_trait]
impl IdempotencyTable for Sqlite {
    async fn take_key(
        pool: &SqlitePool,
        names: &Names,
        key: &str,
        fingerprint: Uuid,
        claim: Uuid,
        lease: Duration,
    ) -> Result<bool> {
        let take = "INSERT INTO {t}idempotency AS i (key, fingerprint, claim, until) \
                    VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, \
                        claim = excluded.claim, until = excluded.until, done = 0, replies = NULL \
                    WHERE i.until < $5";
        let now = now();
        let taken = sqlx::query(names.sql(take))
            .bind(key)
            .bind(fingerprint)
            .bind(claim)
            .bind(after(now, lease))
            .bind(now)
            .execute(pool)
            .await?;
        Ok(taken.rows_affected() == 1)
    }

    async fn look_up(pool: &SqlitePool, names: &Names, key: &str) -> Result<Option<Taken>> {
        let look =
            "SELECT fingerprint, done, replies FROM {t}idempotency WHERE key = $1 AND until >= $2";
        let found: Option<(Uuid, bool, Option<Vec<u8>>)> = sqlx::query_as(names.sql(look))
            .bind(key)
            .bind(now())
            .fetch_optional(pool)
            .await?;
        Ok(found.map(|(fingerprint, is_done, replies)| Taken {
            fingerprint,
            is_done,
            replies,
        }))
    }

    async fn extend(
        pool: &SqlitePool,
        names: &Names,
        key: &str,
        claim: Uuid,
        lease: Duration,
    ) -> Result<bool> {
        let extend =
            "UPDATE {t}idempotency SET until = $3 WHERE key = $1 AND claim = $2 AND NOT done";
        let extended = sqlx::query(names.sql(extend))
            .bind(key)
            .bind(claim)
            .bind(after(now(), lease))
            .execute(pool)
            .await?;
        Ok(extended.rows_affected() == 1)
    }

    async fn complete(
        pool: &SqlitePool,
        names: &Names,
        key: &str,
        claim: Uuid,
        replies: Option<Vec<u8>>,
        keep: Duration,
    ) -> Result<bool> {
        let complete = "UPDATE {t}idempotency SET done = 1, replies = $3, until = $4 \
                        WHERE key = $1 AND claim = $2 AND NOT done";
        let completed = sqlx::query(names.sql(complete))
            .bind(key)
            .bind(claim)
            .bind(replies)
            .bind(after(now(), keep))
            .execute(pool)
            .await?;
        Ok(completed.rows_affected() == 1)
    }

    async fn give_up(pool: &SqlitePool, names: &Names, key: &str, claim: Uuid) -> Result<()> {
        let delete = "DELETE FROM {t}idempotency WHERE key = $1 AND claim = $2 AND NOT done";
        let delete = sqlx::query(names.sql(delete)).bind(key).bind(claim);
        delete.execute(pool).await?;
        Ok(())
    }

    async fn prune_keys(pool: &SqlitePool, names: &Names) -> Result<u64> {
        let prune = "DELETE FROM {t}idempotency WHERE rowid IN (SELECT rowid FROM {t}idempotency \
                     WHERE until < $1 ORDER BY until LIMIT 1000)";
        let pruned = sqlx::query(names.sql(prune))
            .bind(now())
            .execute(pool)
            .await?;
        Ok(pruned.rows_affected())
    }
}

fn after(now: i64, duration: Duration) -> i64 {
    now + i64::try_from(span(duration).as_micros()).unwrap_or_default()
}
