//! The plans of all statements that run often: none reads a whole table.

use std::time::Duration;

use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::names::Names;
use crate::sql::Sql;
use crate::store::{
    IdempotencyTable, InboxKey, InboxTable, OutboxTable, RelayTable, SagaName, SagaRow, SagaTable,
    Without,
};

/// Tables that grow with the traffic.
const LARGE: [&str; 6] = [
    "outbox",
    "scheduled",
    "inbox",
    "idempotency",
    "saga",
    "saga_key",
];

/// Runs each statement once.
async fn run_all(sql: &Sql<Sqlite>) -> sqlx::Result<()> {
    let (pool, names) = (sql.pool(), sql.names());
    let (id, lease) = (Uuid::nil(), Duration::from_secs(1));
    let key = InboxKey {
        endpoint: "sales".to_owned(),
        key: "7".to_owned(),
        fingerprint: id,
    };
    let mut conn = pool.acquire().await?;
    for _ in 0..2 {
        Sqlite::claim(&mut conn, names, Some(&key)).await?;
    }
    Sqlite::keep_replies(&mut conn, names, &key, b"[]").await?;
    Sqlite::cancel(&mut conn, names, id).await?;
    sqlx::query("ROLLBACK").execute(&mut *conn).await?;
    run_sagas(&mut conn, names).await?;
    drop(conn);
    Sqlite::prune_sagas(pool, names, lease).await?;
    Sqlite::topology(pool, names, id).await?;
    Sqlite::prune_inbox(pool, names, lease).await?;
    Sqlite::take_key(pool, names, "7", id, id, lease).await?;
    Sqlite::look_up(pool, names, "7").await?;
    Sqlite::extend(pool, names, "7", id, lease).await?;
    Sqlite::complete(pool, names, "7", id, None, lease).await?;
    Sqlite::give_up(pool, names, "7", id).await?;
    Sqlite::prune_keys(pool, names).await?;
    Sqlite::waiting(pool, names, 0, 0, &Without::default(), 500)
        .await
        .expect("it can be read");
    Sqlite::delete(pool, names, 0, &[1]).await?;
    Sqlite::count_attempt(pool, names, 0, &[1]).await?;
    Sqlite::park(pool, names, 0, 1, "refused").await?;
    let due =
        "INSERT INTO bus_scheduled (due_at, destination, metadata, body) VALUES (0, '', '', x'')";
    sqlx::query(due).execute(pool).await?;
    assert_eq!(Sqlite::move_due(pool, names, 0).await?, 1);
    Ok(())
}

async fn run_sagas(conn: &mut SqliteConnection, names: &Names) -> sqlx::Result<()> {
    let text = || "{}".to_owned();
    let mut row = SagaRow {
        id: Uuid::nil(),
        revision: 0,
        state: Some("Open".to_owned()),
        data: text(),
        meta: text(),
        keys: "[]".to_owned(),
    };
    for revision in 0..2 {
        row.revision = revision;
        assert!(Sqlite::save_saga(conn, names, "order", &row).await?);
    }
    let key = ("number", "A-7");
    assert!(Sqlite::take_saga_key(conn, names, "order", key, row.id).await?);
    assert!(!Sqlite::take_saga_key(conn, names, "order", key, Uuid::max()).await?);
    for name in [SagaName::Id(row.id), SagaName::Key(key.0, key.1)] {
        let found = Sqlite::load_saga(conn, names, "order", name, true).await?;
        assert_eq!(found.map(|row| row.revision), Some(2));
    }
    Sqlite::drop_saga_key(conn, names, "order", key, row.id).await
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let options = SqlitePoolOptions::new().max_connections(1);
    let options = options.idle_timeout(None).max_lifetime(None);
    let sql = Sql::sqlite(options.connect("sqlite::memory:").await.unwrap());
    sql.migrate().await.unwrap();
    run_all(&sql).await.unwrap();
    let mut searched = 0;
    for text in sql.names().texts() {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
        let steps: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(sql.pool()).await.unwrap();
        for (.., step) in steps {
            let scan = LARGE.iter().find(|table| {
                let table = format!("SCAN bus_{table}");
                step == table || step.starts_with(&format!("{table} "))
            });
            assert_eq!(scan, None, "{text}: {step}");
            searched += usize::from(step.starts_with("SEARCH bus_"));
        }
    }
    assert!(searched > 15, "{searched}: the plans were read");
}
