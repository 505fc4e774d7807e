//! Recurring messages in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgConnection, PgPool, Postgres, Result};

use crate::names::Names;
use crate::recurring_row::{Columns, RecurringRow, RecurringTable};

/// Columns of a row; times become microseconds.
macro_rules! columns {
    () => {
        "name, cron, zone, missed, paused, (extract(epoch FROM next_at) * 1000000)::int8 AS next_at, \
         destination, topology, metadata, body"
    };
}

/// The time of a parameter with microseconds, which may be null.
macro_rules! at {
    ($parameter:literal) => {
        concat!(
            "'epoch'::timestamptz + make_interval(secs => ",
            $parameter,
            "::int8 / 1e6)"
        )
    };
}

#[async_trait]
impl RecurringTable for Postgres {
    async fn now(pool: &PgPool, _: &Names) -> Result<i64> {
        let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";
        sqlx::query_scalar(now).fetch_one(pool).await
    }

    async fn set_recurring(
        conn: &mut PgConnection,
        names: &Names,
        row: &RecurringRow,
        next: Option<i64>,
    ) -> Result<()> {
        let set = concat!(
            "INSERT INTO {t}recurring AS r (name, cron, zone, missed, destination, topology, metadata, body, next_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, ",
            at!("$9"),
            ") \
             ON CONFLICT (name) DO UPDATE SET missed = excluded.missed, destination = excluded.destination, \
                 topology = excluded.topology, metadata = excluded.metadata, body = excluded.body, \
                 cron = excluded.cron, zone = excluded.zone, changed_at = now(), \
                 next_at = CASE WHEN (r.cron, r.zone) = (excluded.cron, excluded.zone) \
                           THEN coalesce(r.next_at, excluded.next_at) ELSE excluded.next_at END"
        );
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
            .execute(conn)
            .await?;
        Ok(())
    }

    async fn due_recurring(pool: &PgPool, names: &Names) -> Result<Vec<RecurringRow>> {
        let due = concat!(
            "SELECT ",
            columns!(),
            " FROM {t}recurring \
             WHERE NOT paused AND next_at <= clock_timestamp() ORDER BY next_at LIMIT 100"
        );
        Ok(rows(sqlx::query_as(names.sql(due)).fetch_all(pool).await?))
    }

    async fn next_recurring(pool: &PgPool, names: &Names) -> Result<Option<Duration>> {
        let next = "SELECT (extract(epoch FROM min(next_at) - clock_timestamp()) * 1000000)::int8 \
                    FROM {t}recurring WHERE NOT paused";
        let next: Option<i64> = sqlx::query_scalar(names.sql(next)).fetch_one(pool).await?;
        Ok(next.map(|wait| Duration::from_micros(wait.try_into().unwrap_or_default())))
    }

    async fn advance_recurring(
        conn: &mut PgConnection,
        names: &Names,
        row: &RecurringRow,
        next: Option<i64>,
    ) -> Result<bool> {
        let advance = concat!(
            "UPDATE {t}recurring SET next_at = ",
            at!("$4"),
            " \
             WHERE name = $1 AND NOT paused AND cron = $2 AND next_at = ",
            at!("$3")
        );
        let advanced = sqlx::query(names.sql(advance))
            .bind(&row.name)
            .bind(&row.cron)
            .bind(row.next_at)
            .bind(next)
            .execute(conn)
            .await?;
        Ok(advanced.rows_affected() == 1)
    }

    async fn recurring(pool: &PgPool, names: &Names, name: &str) -> Result<Option<RecurringRow>> {
        let one = concat!("SELECT ", columns!(), " FROM {t}recurring WHERE name = $1");
        let one = sqlx::query_as(names.sql(one)).bind(name);
        let one: Option<Columns> = one.fetch_optional(pool).await?;
        Ok(one.map(RecurringRow::from))
    }

    async fn all_recurring(pool: &PgPool, names: &Names) -> Result<Vec<RecurringRow>> {
        let all = concat!("SELECT ", columns!(), " FROM {t}recurring ORDER BY name");
        Ok(rows(sqlx::query_as(names.sql(all)).fetch_all(pool).await?))
    }

    async fn pause_recurring(pool: &PgPool, names: &Names, name: &str) -> Result<bool> {
        let pause = "UPDATE {t}recurring SET paused = true WHERE name = $1";
        let paused = sqlx::query(names.sql(pause)).bind(name).execute(pool);
        Ok(paused.await?.rows_affected() == 1)
    }

    async fn resume_recurring(
        pool: &PgPool,
        names: &Names,
        name: &str,
        next: Option<i64>,
    ) -> Result<bool> {
        let resume = concat!(
            "UPDATE {t}recurring SET next_at = CASE WHEN paused THEN ",
            at!("$2"),
            " ELSE next_at END, \
             paused = false WHERE name = $1"
        );
        let resumed = sqlx::query(names.sql(resume)).bind(name).bind(next);
        Ok(resumed.execute(pool).await?.rows_affected() == 1)
    }

    async fn remove_recurring(pool: &PgPool, names: &Names, name: &str) -> Result<bool> {
        let remove = "DELETE FROM {t}recurring WHERE name = $1";
        let removed = sqlx::query(names.sql(remove)).bind(name).execute(pool);
        Ok(removed.await?.rows_affected() == 1)
    }
}

fn rows(columns: Vec<Columns>) -> Vec<RecurringRow> {
    columns.into_iter().map(RecurringRow::from).collect()
}
