//! Sagas in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Result, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::now;
use crate::names::Names;
use crate::store::{SagaColumns, SagaName, SagaRow, SagaTable, span};

const BY_ID: &str = "SELECT id, revision, state, data, meta, keys FROM {t}saga \
                     WHERE saga = $1 AND id = $2";
const BY_KEY: &str = "SELECT s.id, s.revision, s.state, s.data, s.meta, s.keys \
                      FROM {t}saga_key k JOIN {t}saga s ON s.saga = k.saga AND s.id = k.id \
                      WHERE k.saga = $1 AND k.name = $2 AND k.value = $3";

#[async_trait]
impl SagaTable for Sqlite {
    // The transaction that writes is the only one: each instance is locked already.
    async fn load_saga(
        conn: &mut SqliteConnection,
        names: &Names,
        saga: &str,
        name: SagaName<'_>,
        _: bool,
    ) -> Result<Option<SagaRow>> {
        let query = match name {
            SagaName::Id(id) => sqlx::query_as(names.sql(BY_ID)).bind(saga).bind(id),
            SagaName::Key(name, value) => {
                let query = sqlx::query_as(names.sql(BY_KEY)).bind(saga);
                query.bind(name).bind(value)
            }
        };
        let columns: Option<SagaColumns> = query.fetch_optional(conn).await?;
        Ok(columns.map(SagaRow::from))
    }

    async fn save_saga(
        conn: &mut SqliteConnection,
        names: &Names,
        saga: &str,
        row: &SagaRow,
    ) -> Result<bool> {
        let save = if row.revision == 0 {
            "INSERT INTO {t}saga (saga, id, revision, state, data, meta, keys, created_at, updated_at) \
             VALUES ($1, $2, $3 + 1, $4, $5, $6, $7, $8, $8) ON CONFLICT DO NOTHING"
        } else {
            "UPDATE {t}saga SET revision = $3 + 1, state = $4, data = $5, meta = $6, keys = $7, \
                 updated_at = $8 \
             WHERE saga = $1 AND id = $2 AND revision = $3"
        };
        let saved = sqlx::query(names.sql(save))
            .bind(saga)
            .bind(row.id)
            .bind(row.revision)
            .bind(&row.state)
            .bind(&row.data)
            .bind(&row.meta)
            .bind(&row.keys)
            .bind(now())
            .execute(conn)
            .await?;
        Ok(saved.rows_affected() == 1)
    }

    async fn take_saga_key(
        conn: &mut SqliteConnection,
        names: &Names,
        saga: &str,
        (name, value): (&str, &str),
        id: Uuid,
    ) -> Result<bool> {
        // Of an instance that has finished, or is forgotten, it is free.
        let take = "INSERT INTO {t}saga_key AS k (saga, name, value, id) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (saga, name, value) DO UPDATE SET id = excluded.id \
                    WHERE NOT EXISTS (SELECT 1 FROM {t}saga s \
                        WHERE s.saga = k.saga AND s.id = k.id AND s.state IS NOT NULL)";
        let query = sqlx::query(names.sql(take)).bind(saga).bind(name);
        let taken = query.bind(value).bind(id).execute(conn).await?;
        Ok(taken.rows_affected() == 1)
    }

    async fn drop_saga_key(
        conn: &mut SqliteConnection,
        names: &Names,
        saga: &str,
        (name, value): (&str, &str),
        id: Uuid,
    ) -> Result<()> {
        let drop =
            "DELETE FROM {t}saga_key WHERE saga = $1 AND name = $2 AND value = $3 AND id = $4";
        let query = sqlx::query(names.sql(drop)).bind(saga).bind(name);
        query.bind(value).bind(id).execute(conn).await?;
        Ok(())
    }

    async fn prune_sagas(pool: &SqlitePool, names: &Names, age: Duration) -> Result<u64> {
        let age = i64::try_from(span(age).as_micros()).unwrap_or(i64::MAX);
        let before = now() - age;
        let keys = "DELETE FROM {t}saga_key WHERE (saga, id) IN (SELECT saga, id FROM {t}saga \
                    WHERE state IS NULL AND updated_at < $1 ORDER BY updated_at LIMIT 1000)";
        let keys = sqlx::query(names.sql(keys)).bind(before);
        keys.execute(pool).await?;
        let prune = "DELETE FROM {t}saga WHERE rowid IN (SELECT rowid FROM {t}saga \
                     WHERE state IS NULL AND updated_at < $1 ORDER BY updated_at LIMIT 1000)";
        let pruned = sqlx::query(names.sql(prune)).bind(before);
        Ok(pruned.execute(pool).await?.rows_affected())
    }
}
