//! The inbox in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres, Result};
use uuid::Uuid;

use crate::names::Names;
use crate::store::{Claim, InboxKey, InboxTable, span};

#[async_trait]
impl InboxTable for Postgres {
    async fn claim(
        conn: &mut PgConnection,
        names: &Names,
        key: Option<&InboxKey>,
    ) -> Result<Claim> {
        let Some(key) = key else {
            let mark = sqlx::query_scalar("SELECT txid_current()");
            let mark = Some(mark.fetch_one(conn).await?);
            return Ok(Claim::Fresh { mark });
        };
        loop {
            // One that is being handled is waited for without a connection. The limit of other
            // locks comes back with the claim.
            let claim = "WITH brief AS MATERIALIZED (SELECT set_config('lock_timeout', '50ms', true)) \
                         INSERT INTO {t}inbox (endpoint, key, fingerprint) \
                         SELECT $1::text, $2::text, $3::uuid FROM brief ON CONFLICT DO NOTHING \
                         RETURNING txid_current(), set_config('lock_timeout', '5s', true)";
            let mark = sqlx::query_scalar(names.sql(claim))
                .bind(&key.endpoint)
                .bind(&key.key)
                .bind(key.fingerprint);
            match mark.fetch_optional(&mut *conn).await {
                Ok(None) => {}
                Ok(mark) => return Ok(Claim::Fresh { mark }),
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => {
                    return Ok(Claim::InProgress);
                }
                Err(error) => return Err(error),
            }
            let handled =
                "SELECT fingerprint, replies FROM {t}inbox WHERE endpoint = $1 AND key = $2";
            let handled: Option<(Uuid, Option<Vec<u8>>)> = sqlx::query_as(names.sql(handled))
                .bind(&key.endpoint)
                .bind(&key.key)
                .fetch_optional(&mut *conn)
                .await?;
            // Without a row, it was forgotten between the two statements.
            if let Some((fingerprint, replies)) = handled {
                return Ok(Claim::Handled {
                    fingerprint,
                    replies,
                });
            }
        }
    }

    async fn keep_replies(
        conn: &mut PgConnection,
        names: &Names,
        key: &InboxKey,
        replies: &[u8],
    ) -> Result<()> {
        let keep = "UPDATE {t}inbox SET replies = $3 WHERE endpoint = $1 AND key = $2";
        sqlx::query(names.sql(keep))
            .bind(&key.endpoint)
            .bind(&key.key)
            .bind(replies)
            .execute(conn)
            .await?;
        Ok(())
    }

    async fn prune_inbox(pool: &PgPool, names: &Names, age: Duration) -> Result<u64> {
        let prune = "DELETE FROM {t}inbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM {t}inbox \
                     WHERE handled_at < now() - make_interval(secs => $1) \
                     ORDER BY handled_at LIMIT 5000))";
        let pruned = sqlx::query(names.sql(prune))
            .bind(span(age).as_secs_f64())
            .execute(pool)
            .await?;
        Ok(pruned.rows_affected())
    }
}
