//! Messages of transactions of other database libraries: their rows are plain data.

use std::time::{Duration, Instant};

use bus_core::transport::ScheduleToken;
use bus_sql::sqlx::{self, AssertSqlSafe, Postgres, Sqlite};
use bus_sql::{OutboxRow, Sql};
use bus_tests::contracts::{LAST, Ordered};
use bus_tests::numbers;
use tokio_postgres::NoTls;
use tokio_postgres::types::ToSql;

use crate::databases::{Fixture, TestDatabase};
use crate::outside::listening;

const DELAY: Duration = Duration::from_millis(300);

/// The rows of an event for now, and of the same event for later.
async fn rows<DB: TestDatabase>(
    db: &Fixture<DB>,
    bus: &bus_core::Bus,
    number: u32,
) -> Vec<OutboxRow> {
    let outbox = db.sql.outbox(&bus.sender());
    let event = Ordered { number };
    let now = outbox.publish(&event).ordering_key("one of all");
    now.await.unwrap();
    let later = outbox.publish(&event).deliver_in(DELAY);
    later.schedule_token(ScheduleToken::new()).await.unwrap();
    let rows = outbox.into_rows().await.unwrap();
    assert_eq!(db.rows("topology").await, 1, "it is there before the rows");
    let due: Vec<_> = rows.iter().map(|row| row.due_micros().is_some()).collect();
    assert_eq!(due, [false, true]);
    rows
}

/// Inserts a row in a transaction of tokio-postgres.
async fn insert(
    tx: &tokio_postgres::Transaction<'_>,
    sql: &Sql<Postgres>,
    row: &OutboxRow,
) -> Result<u64, tokio_postgres::Error> {
    let (body, due) = (&row.body[..], row.due_micros());
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![
        &row.part,
        &row.ordering_key,
        &row.destination,
        &row.topology,
        &row.metadata,
        &body,
    ];
    if due.is_some() {
        values.extend([&due as &(dyn ToSql + Sync), &row.token]);
    }
    tx.execute(&sql.insert_statement(row), &values).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_of_tokio_postgres_takes_the_messages() {
    let db = Postgres::open().await;
    let (_broker, bus, ordered) = listening(&db).await;
    let (mut client, connection) = tokio_postgres::connect(&db.address, NoTls).await.unwrap();
    tokio::spawn(connection);
    let begun = Instant::now();
    for (number, is_committed) in [(1, false), (2, true)] {
        let rows = rows(&db, &bus, number).await;
        let tx = client.transaction().await.unwrap();
        let effect = "INSERT INTO effect (number) VALUES ($1)";
        tx.execute(effect, &[&number.to_string()]).await.unwrap();
        for row in &rows {
            assert_eq!(insert(&tx, &db.sql, row).await.unwrap(), 1);
        }
        if is_committed {
            tx.commit().await.unwrap();
            db.sql.wake();
        } else {
            tx.rollback().await.unwrap();
        }
    }
    let received = [ordered.next().await, ordered.next().await];
    assert_eq!(numbers(&received), [2, 2]);
    assert!(begun.elapsed() >= DELAY, "the second one was due later");
    assert_eq!(db.effects().await, ["2"]);
    bus.publish(&Ordered { number: LAST }).await.unwrap();
    assert_eq!(numbers(&ordered.until_last().await), [0_u32; 0]);
    bus.shutdown().await.unwrap();
}

/// One program links one SQLite, so that the statements are run by the client that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statements_for_other_libraries_work_in_sqlite() {
    let db = Sqlite::open().await;
    let (_broker, bus, ordered) = listening(&db).await;
    let begun = Instant::now();
    let rows = rows(&db, &bus, 2).await;
    let mut tx = db.sql.pool().begin().await.unwrap();
    for row in &rows {
        let statement = AssertSqlSafe(db.sql.insert_statement(row));
        let mut insert = sqlx::query(statement)
            .bind(row.part)
            .bind(&row.ordering_key)
            .bind(&row.destination)
            .bind(row.topology)
            .bind(&row.metadata)
            .bind(&row.body[..]);
        if let Some(due) = row.due_micros() {
            insert = insert.bind(due).bind(row.token);
        }
        let inserted = insert.execute(&mut *tx).await.unwrap();
        assert_eq!(inserted.rows_affected(), 1);
    }
    tx.commit().await.unwrap();
    // The relay is not woken, and looks by itself.
    let received = [ordered.next().await, ordered.next().await];
    assert_eq!(numbers(&received), [2, 2]);
    assert!(begun.elapsed() >= DELAY, "the second one was due later");
    bus.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_row_knows_its_time_of_creation_in_sqlite() {
    let db = Sqlite::open().await;
    let (_broker, bus, _ordered) = listening(&db).await;
    let rows = rows(&db, &bus, 1).await;
    bus.shutdown().await.unwrap();
    let insert = AssertSqlSafe(db.sql.insert_statement(&rows[0]));
    let insert = sqlx::query(insert)
        .bind(0)
        .bind("key")
        .bind("queue:audit")
        .bind(None::<uuid::Uuid>)
        .bind("{}")
        .bind(&b"{}"[..]);
    insert.execute(db.sql.pool()).await.unwrap();
    let backlog = db.sql.backlog().await.unwrap();
    assert_eq!(backlog.waiting, 1);
    let oldest = backlog.oldest.expect("a row");
    assert!(oldest < Duration::from_secs(3600), "{oldest:?}");
}
