//! The inbox in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Result, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::now;
use crate::names::Names;
use crate::store::{Claim, InboxKey, InboxTable, span};

#[async_trait]
impl InboxTable for Sqlite {
    async fn claim(
        conn: &mut SqliteConnection,
        names: &Names,
        key: Option<&InboxKey>,
    ) -> Result<Claim> {
        if let Some(key) = key {
            let claim = "INSERT INTO {t}inbox (endpoint, key, fingerprint, handled_at) \
                         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            let claimed = sqlx::query(names.sql(claim))
                .bind(&key.endpoint)
                .bind(&key.key)
                .bind(key.fingerprint)
                .bind(now())
                .execute(&mut *conn)
                .await?;
            if claimed.rows_affected() == 0 {
                return handled(conn, names, key).await;
            }
        }
        // It ends with the transaction, so that its absence shows that the transaction was ended.
        sqlx::query("SAVEPOINT bus_attempt").execute(conn).await?;
        Ok(Claim::Fresh { mark: Some(0) })
    }

    async fn keep_replies(
        conn: &mut SqliteConnection,
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

    async fn prune_inbox(pool: &SqlitePool, names: &Names, age: Duration) -> Result<u64> {
        let prune = "DELETE FROM {t}inbox WHERE rowid IN (SELECT rowid FROM {t}inbox \
                     WHERE handled_at < $1 ORDER BY handled_at LIMIT 1000)";
        let age = i64::try_from(span(age).as_micros()).unwrap_or(i64::MAX);
        let pruned = sqlx::query(names.sql(prune)).bind(now() - age);
        Ok(pruned.execute(pool).await?.rows_affected())
    }
}

async fn handled(conn: &mut SqliteConnection, names: &Names, key: &InboxKey) -> Result<Claim> {
    let handled = "SELECT fingerprint, replies FROM {t}inbox WHERE endpoint = $1 AND key = $2";
    let (fingerprint, replies): (Uuid, Option<Vec<u8>>) = sqlx::query_as(names.sql(handled))
        .bind(&key.endpoint)
        .bind(&key.key)
        .fetch_one(conn)
        .await?;
    Ok(Claim::Handled {
        fingerprint,
        replies,
    })
}
