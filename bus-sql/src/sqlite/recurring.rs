//! Recurring messages in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Result, Sqlite, SqliteConnection, SqlitePool};

use super::now;
use crate::names::Names;
use crate::recurring_row::{Columns, RecurringRow, RecurringTable};

/// Columns of a row.
macro_rules! columns {
    () => {
        "name, cron, zone, missed, paused, next_at, destination, topology, metadata, body"
    };
}

#[async_trait]
impl RecurringTable for Sqlite {
    async fn now(_: &SqlitePool, _: &Names) -> Result<i64> {
        Ok(now())
    }

    async fn set_recurring(
        conn: &mut SqliteConnection,
        names: &Names,
        row: &RecurringRow,
        next: Option<i64>,
    ) -> Result<()> {
        let set = "INSERT INTO {t}recurring AS r \
                       (name, cron, zone, missed, destination, topology, metadata, body, next_at, changed_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                   ON CONFLICT (name) DO UPDATE SET missed = excluded.missed, destination = excluded.destination, \
                       topology = excluded.topology, metadata = excluded.metadata, body = excluded.body, \
                       cron = excluded.cron, zone = excluded.zone, changed_at = excluded.changed_at, \
                       next_at = CASE WHEN r.cron = excluded.cron AND r.zone = excluded.zone \
                                 THEN coalesce(r.next_at, excluded.next_at) ELSE excluded.next_at END";
        sqlx::query(names.sql(set))
            .bind(&row.name)
            .bind(&row.cron)
            .bind(&row.zone)
            .bind(row.missed)
            .bind(&row.destination)
            .bind(row.topology)
            .bind(&row.metadata)
            .bind(&row.body)
            .bind(next)
            .bind(now())
            .execute(conn)
            .await?;
        Ok(())
    }

    async fn due_recurring(pool: &SqlitePool, names: &Names) -> Result<Vec<RecurringRow>> {
        let due = concat!(
            "SELECT ",
            columns!(),
            " FROM {t}recurring \
             WHERE NOT paused AND next_at <= $1 ORDER BY next_at LIMIT 100"
        );
        let due = sqlx::query_as(names.sql(due)).bind(now());
        Ok(rows(due.fetch_all(pool).await?))
    }

    async fn next_recurring(pool: &SqlitePool, names: &Names) -> Result<Option<Duration>> {
        let next = "SELECT min(next_at) FROM {t}recurring WHERE NOT paused";
        let next: Option<i64> = sqlx::query_scalar(names.sql(next)).fetch_one(pool).await?;
        Ok(next.map(|at| Duration::from_micros((at - now()).try_into().unwrap_or_default())))
    }

    async fn advance_recurring(
        conn: &mut SqliteConnection,
        names: &Names,
        row: &RecurringRow,
        next: Option<i64>,
    ) -> Result<bool> {
        let advance = "UPDATE {t}recurring SET next_at = $4 \
                       WHERE name = $1 AND NOT paused AND cron = $2 AND next_at = $3";
        let advanced = sqlx::query(names.sql(advance))
            .bind(&row.name)
            .bind(&row.cron)
            .bind(row.next_at)
            .bind(next)
            .execute(conn)
            .await?;
        Ok(advanced.rows_affected() == 1)
    }

    async fn recurring(
        pool: &SqlitePool,
        names: &Names,
        name: &str,
    ) -> Result<Option<RecurringRow>> {
        let one = concat!("SELECT ", columns!(), " FROM {t}recurring WHERE name = $1");
        let one = sqlx::query_as(names.sql(one)).bind(name);
        let one: Option<Columns> = one.fetch_optional(pool).await?;
        Ok(one.map(RecurringRow::from))
    }

    async fn all_recurring(pool: &SqlitePool, names: &Names) -> Result<Vec<RecurringRow>> {
        let all = concat!("SELECT ", columns!(), " FROM {t}recurring ORDER BY name");
        Ok(rows(sqlx::query_as(names.sql(all)).fetch_all(pool).await?))
    }

    async fn pause_recurring(pool: &SqlitePool, names: &Names, name: &str) -> Result<bool> {
        let pause = "UPDATE {t}recurring SET paused = 1 WHERE name = $1";
        let paused = sqlx::query(names.sql(pause)).bind(name).execute(pool);
        Ok(paused.await?.rows_affected() == 1)
    }

    async fn resume_recurring(
        pool: &SqlitePool,
        names: &Names,
        name: &str,
        next: Option<i64>,
    ) -> Result<bool> {
        let resume = "UPDATE {t}recurring SET next_at = CASE WHEN paused THEN $2 ELSE next_at END, \
                      paused = 0 WHERE name = $1";
        let resumed = sqlx::query(names.sql(resume)).bind(name).bind(next);
        Ok(resumed.execute(pool).await?.rows_affected() == 1)
    }

    async fn remove_recurring(pool: &SqlitePool, names: &Names, name: &str) -> Result<bool> {
        let remove = "DELETE FROM {t}recurring WHERE name = $1";
        let removed = sqlx::query(names.sql(remove)).bind(name).execute(pool);
        Ok(removed.await?.rows_affected() == 1)
    }
}

fn rows(columns: Vec<Columns>) -> Vec<RecurringRow> {
    columns.into_iter().map(RecurringRow::from).collect()
}
