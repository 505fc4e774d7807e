//! The idempotency store in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgPool, Postgres, Result};
use uuid::Uuid;

use crate::names::Names;
use crate::store::{IdempotencyTable, Taken, span};

#[async_trait]
impl IdempotencyTable for Postgres {
    async fn take_key(
        pool: &PgPool,
        names: &Names,
        key: &str,
        fingerprint: Uuid,
        claim: Uuid,
        lease: Duration,
    ) -> Result<bool> {
        let take = "INSERT INTO {t}idempotency AS i (key, fingerprint, claim, until) \
                    VALUES ($1, $2, $3, now() + make_interval(secs => $4)) \
                    ON CONFLICT (key) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, \
                        claim = EXCLUDED.claim, until = EXCLUDED.until, done = false, replies = NULL \
                    WHERE i.until < now()";
        let taken = sqlx::query(names.sql(take))
            .bind(key)
            .bind(fingerprint)
            .bind(claim)
            .bind(span(lease).as_secs_f64())
            .execute(pool)
            .await?;
        Ok(taken.rows_affected() == 1)
    }

    async fn look_up(pool: &PgPool, names: &Names, key: &str) -> Result<Option<Taken>> {
        let look = "SELECT fingerprint, done, replies FROM {t}idempotency WHERE key = $1 AND until >= now()";
        let found: Option<(Uuid, bool, Option<Vec<u8>>)> = sqlx::query_as(names.sql(look))
            .bind(key)
            .fetch_optional(pool)
            .await?;
        Ok(found.map(|(fingerprint, is_done, replies)| Taken {
            fingerprint,
            is_done,
            replies,
        }))
    }

    async fn extend(
        pool: &PgPool,
        names: &Names,
        key: &str,
        claim: Uuid,
        lease: Duration,
    ) -> Result<bool> {
        let extend = "UPDATE {t}idempotency SET until = now() + make_interval(secs => $3) \
                      WHERE key = $1 AND claim = $2 AND NOT done";
        let extended = sqlx::query(names.sql(extend))
            .bind(key)
            .bind(claim)
            .bind(span(lease).as_secs_f64())
            .execute(pool)
            .await?;
        Ok(extended.rows_affected() == 1)
    }

    async fn complete(
        pool: &PgPool,
        names: &Names,
        key: &str,
        claim: Uuid,
        replies: Option<Vec<u8>>,
        keep: Duration,
    ) -> Result<bool> {
        let complete = "UPDATE {t}idempotency SET done = true, replies = $3, \
                            until = now() + make_interval(secs => $4) \
                        WHERE key = $1 AND claim = $2 AND NOT done";
        let completed = sqlx::query(names.sql(complete))
            .bind(key)
            .bind(claim)
            .bind(replies)
            .bind(span(keep).as_secs_f64())
            .execute(pool)
            .await?;
        Ok(completed.rows_affected() == 1)
    }

    async fn give_up(pool: &PgPool, names: &Names, key: &str, claim: Uuid) -> Result<()> {
        let delete = "DELETE FROM {t}idempotency WHERE key = $1 AND claim = $2 AND NOT done";
        let delete = sqlx::query(names.sql(delete)).bind(key).bind(claim);
        delete.execute(pool).await?;
        Ok(())
    }

    async fn prune_keys(pool: &PgPool, names: &Names) -> Result<u64> {
        let prune = "DELETE FROM {t}idempotency WHERE ctid = ANY(ARRAY(SELECT ctid FROM {t}idempotency \
                     WHERE until < now() ORDER BY until LIMIT 5000)) AND until < now()";
        let pruned = sqlx::query(names.sql(prune)).execute(pool).await?;
        Ok(pruned.rows_affected())
    }
}
