//! Sagas in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres, Result};
use uuid::Uuid;

use crate::names::Names;
use crate::store::{SagaColumns, SagaName, SagaRow, SagaTable, span};

const BY_ID: &str = "SELECT id, revision, state, data, meta, keys FROM {t}saga \
                     WHERE saga = $1 AND id = $2";
const BY_ID_LOCKED: &str = "SELECT id, revision, state, data, meta, keys FROM {t}saga \
                            WHERE saga = $1 AND id = $2 FOR UPDATE";
const BY_KEY: &str = "SELECT s.id, s.revision, s.state, s.data, s.meta, s.keys \
                      FROM {t}saga_key k JOIN {t}saga s ON s.saga = k.saga AND s.id = k.id \
                      WHERE k.saga = $1 AND k.name = $2 AND k.value = $3";
const BY_KEY_LOCKED: &str = "SELECT s.id, s.revision, s.state, s.data, s.meta, s.keys \
                             FROM {t}saga_key k JOIN {t}saga s ON s.saga = k.saga AND s.id = k.id \
                             WHERE k.saga = $1 AND k.name = $2 AND k.value = $3 FOR UPDATE OF s";

#[async_trait]
impl SagaTable for Postgres {
    async fn load_saga(
        conn: &mut PgConnection,
        names: &Names,
        saga: &str,
        name: SagaName<'_>,
        locks: bool,
    ) -> Result<Option<SagaRow>> {
        let query = match name {
            SagaName::Id(id) => {
                let text = if locks { BY_ID_LOCKED } else { BY_ID };
                sqlx::query_as(names.sql(text)).bind(saga).bind(id)
            }
            SagaName::Key(name, value) => {
                let text = if locks { BY_KEY_LOCKED } else { BY_KEY };
                let query = sqlx::query_as(names.sql(text)).bind(saga);
                query.bind(name).bind(value)
            }
        };
        let columns: Option<SagaColumns> = query.fetch_optional(conn).await?;
        Ok(columns.map(SagaRow::from))
    }

    async fn save_saga(
        conn: &mut PgConnection,
        names: &Names,
        saga: &str,
        row: &SagaRow,
    ) -> Result<bool> {
        let save = if row.revision == 0 {
            "INSERT INTO {t}saga (saga, id, revision, state, data, meta, keys) \
             VALUES ($1, $2, $3 + 1, $4, $5, $6, $7) ON CONFLICT DO NOTHING"
        } else {
            "UPDATE {t}saga SET revision = $3 + 1, state = $4, data = $5, meta = $6, keys = $7, \
                 updated_at = now() \
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
            .execute(conn)
            .await?;
        Ok(saved.rows_affected() == 1)
    }

    async fn take_saga_key(
        conn: &mut PgConnection,
        names: &Names,
        saga: &str,
        (name, value): (&str, &str),
        id: Uuid,
    ) -> Result<bool> {
        let take = "INSERT INTO {t}saga_key (saga, name, value, id) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT DO NOTHING";
        loop {
            let query = sqlx::query(names.sql(take)).bind(saga).bind(name);
            let taken = query.bind(value).bind(id).execute(&mut *conn).await?;
            if taken.rows_affected() == 1 {
                return Ok(true);
            }
            if let Some(taken) = take_over(conn, names, saga, (name, value), id).await? {
                return Ok(taken);
            }
        }
    }

    async fn drop_saga_key(
        conn: &mut PgConnection,
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

    async fn prune_sagas(pool: &PgPool, names: &Names, age: Duration) -> Result<u64> {
        let prune = "WITH gone AS (DELETE FROM {t}saga WHERE ctid = ANY(ARRAY(SELECT ctid FROM {t}saga \
                         WHERE state IS NULL AND updated_at < now() - make_interval(secs => $1) \
                         ORDER BY updated_at LIMIT 5000)) AND state IS NULL RETURNING saga, id), \
                     keys AS (DELETE FROM {t}saga_key k USING gone g WHERE k.saga = g.saga AND k.id = g.id) \
                     SELECT count(*) FROM gone";
        let pruned = sqlx::query_scalar(names.sql(prune)).bind(span(age).as_secs_f64());
        let pruned: i64 = pruned.fetch_one(pool).await?;
        Ok(u64::try_from(pruned).unwrap_or_default())
    }
}

/// Takes the key of an instance that has finished, or is forgotten.
///
/// Returns `false` if it has not, and `None` if the key is free meanwhile. In several statements,
/// as one that waits for a lock does not see what was committed before it got it.
async fn take_over(
    conn: &mut PgConnection,
    names: &Names,
    saga: &str,
    (name, value): (&str, &str),
    id: Uuid,
) -> Result<Option<bool>> {
    let owner =
        "SELECT id FROM {t}saga_key WHERE saga = $1 AND name = $2 AND value = $3 FOR UPDATE";
    let owner = sqlx::query_scalar(names.sql(owner)).bind(saga).bind(name);
    let owner: Option<Uuid> = owner.bind(value).fetch_optional(&mut *conn).await?;
    let Some(owner) = owner else {
        return Ok(None);
    };
    let is_live =
        "SELECT EXISTS (SELECT FROM {t}saga WHERE saga = $1 AND id = $2 AND state IS NOT NULL)";
    let is_live = sqlx::query_scalar(names.sql(is_live))
        .bind(saga)
        .bind(owner);
    if owner != id && is_live.fetch_one(&mut *conn).await? {
        return Ok(Some(false));
    }
    let over = "UPDATE {t}saga_key SET id = $4 WHERE saga = $1 AND name = $2 AND value = $3";
    let over = sqlx::query(names.sql(over)).bind(saga).bind(name);
    over.bind(value).bind(id).execute(conn).await?;
    Ok(Some(true))
}
