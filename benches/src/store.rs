//! The statements of the loads that have a database, in the words of each.

use std::str::FromStr;
use std::time::Duration;

use bus_core::send::Sender;
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use bus_sql::sqlx::{self, PgConnection, Postgres, Sqlite, SqliteConnection, Transaction};
use bus_sql::{Backend, OutboxRow, Sql};

use crate::message::OrderPlaced;

/// Longer than a transaction waits for others under any of the loads.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database that a load can have.
pub(crate) trait Store: Backend {
    /// Connects as the documents of `bus-sql` advise, and makes the tables.
    fn open(url: &str, connections: u32) -> impl Future<Output = Sql<Self>> + Send;

    /// Begins a transaction as an application without the bus does.
    fn begin_plain(sql: &Sql<Self>) -> impl Future<Output = Transaction<'static, Self>> + Send;

    /// Writes a row of the application.
    fn own_row(conn: &mut Self::Connection, number: i64) -> impl Future<Output = ()> + Send;

    /// Writes a message into the outbox as an application without the bus does.
    fn outbox_row(conn: &mut Self::Connection, row: &OutboxRow) -> impl Future<Output = ()> + Send;
}

/// A message as a row of the outbox.
pub(crate) async fn sample<DB: Store>(sql: &Sql<DB>, sender: &Sender) -> OutboxRow {
    let outbox = sql.outbox(sender);
    let order = OrderPlaced::new(0, 0);
    outbox.publish(&order).await.expect("held");
    let rows = outbox.into_rows().await.expect("rows");
    rows.into_iter().next().expect("the row of the message")
}

impl Store for Postgres {
    async fn open(url: &str, connections: u32) -> Sql<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .acquire_timeout(PATIENCE)
            .test_before_acquire(false)
            .connect(url)
            .await
            .expect("a database");
        let make = "CREATE TABLE IF NOT EXISTS placed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number bigint NOT NULL)";
        sqlx::query(make).execute(&pool).await.expect("made");
        let sql = Sql::postgres(pool);
        sql.migrate().await.expect("tables");
        sql
    }

    async fn begin_plain(sql: &Sql<Self>) -> Transaction<'static, Self> {
        sql.pool().begin().await.expect("begun")
    }

    async fn own_row(conn: &mut PgConnection, number: i64) {
        let own = sqlx::query("INSERT INTO placed (number) VALUES ($1)").bind(number);
        own.execute(conn).await.expect("inserted");
    }

    async fn outbox_row(conn: &mut PgConnection, row: &OutboxRow) {
        let insert = "INSERT INTO bus_outbox (part, ordering_key, destination, topology, metadata, body) \
                      VALUES ($1, $2, $3, $4, $5, $6)";
        let insert = sqlx::query(insert)
            .bind(row.part)
            .bind(&row.ordering_key)
            .bind(&row.destination)
            .bind(row.topology)
            .bind(&row.metadata)
            .bind(&*row.body);
        insert.execute(conn).await.expect("inserted");
    }
}

impl Store for Sqlite {
    async fn open(url: &str, connections: u32) -> Sql<Self> {
        let options = SqliteConnectOptions::from_str(url)
            .expect("an address")
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .expect("a database");
        let make =
            "CREATE TABLE IF NOT EXISTS placed (id INTEGER PRIMARY KEY, number INTEGER NOT NULL)";
        sqlx::query(make).execute(&pool).await.expect("made");
        let sql = Sql::sqlite(pool);
        sql.migrate().await.expect("tables");
        sql
    }

    async fn begin_plain(sql: &Sql<Self>) -> Transaction<'static, Self> {
        let begun = sql.pool().begin_with("BEGIN IMMEDIATE").await;
        begun.expect("begun")
    }

    async fn own_row(conn: &mut SqliteConnection, number: i64) {
        let own = sqlx::query("INSERT INTO placed (number) VALUES ($1)").bind(number);
        own.execute(conn).await.expect("inserted");
    }

    async fn outbox_row(conn: &mut SqliteConnection, row: &OutboxRow) {
        let insert = "INSERT INTO bus_outbox (created_at, ordering_key, destination, topology, metadata, body) \
                      VALUES (0, $1, $2, $3, $4, $5)";
        let insert = sqlx::query(insert)
            .bind(&row.ordering_key)
            .bind(&row.destination)
            .bind(row.topology)
            .bind(&row.metadata)
            .bind(&*row.body);
        insert.execute(conn).await.expect("inserted");
    }
}
