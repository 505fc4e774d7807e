//! Disks without room: messages wait for it, and nothing is lost.

use std::os::unix::fs::symlink;
use std::path::Path;

use bus_core::{ConsumeContext, ConsumeResult, Endpoint};
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use bus_sql::sqlx::{PgPool, Postgres, Sqlite};
use bus_sql::{Sql, Tx, TxConsumer};
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{Database, InMemoryTestBroker, PostgresServer, Recorder, TestBroker, eventually};

use crate::databases::{TestDatabase, stop_unfailed};

/// A consumer whose effect needs room.
struct Large;

impl<DB: TestDatabase> TxConsumer<Place, DB> for Large {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<DB>) -> ConsumeResult {
        DB::effect(tx.conn(), &"x".repeat(100_000)).await?;
        let number = ctx.message().number;
        Ok(ctx.publish(&Ordered { number }).await?)
    }
}

/// Sends a message while the disk is full, then makes room: one effect, one event, no failure.
async fn waits_for_room<DB: TestDatabase>(sql: &Sql<DB>, words: &str, room: impl AsyncFnOnce()) {
    let (broker, ordered) = (InMemoryTestBroker::new(), Recorder::<Ordered>::new());
    let broker: &dyn TestBroker = &broker;
    // Without any retry.
    let sales = Endpoint::new(broker.name("sales")).consumer(sql.consumer(Large));
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker.bus().background(sql.relay());
    let bus = bus.endpoint(sales).endpoint(audit).start().await.unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    eventually("the health says so", async || {
        format!("{:?}", bus.health()).contains(words)
    })
    .await;
    assert_eq!(DB::effects(sql.pool()).await.len(), 0);
    room().await;
    assert_eq!(ordered.next().await.message().number, 1);
    eventually("the relay is well", async || bus.health().is_healthy()).await;
    stop_unfailed(broker, "sales", bus).await;
    assert_eq!(DB::effects(sql.pool()).await.len(), 1);
    assert_eq!(ordered.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_messages_wait_for_room() {
    let db = Sqlite::open().await;
    // The limit is that of a connection.
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(SqliteConnectOptions::new().filename(&db.address));
    let sql = Sql::sqlite(pool.await.unwrap());
    sql.migrate().await.unwrap();
    let limit = async |pages: i64| {
        let limit = format!("PRAGMA max_page_count = {pages}");
        Sqlite::run(sql.pool(), &limit).await.unwrap();
    };
    let pages = Sqlite::number(sql.pool(), "PRAGMA page_count").await;
    limit(pages + 2).await;
    waits_for_room(&sql, "database or disk is full", async || {
        limit(pages + 1000).await;
    })
    .await;
}

/// Leaves no room for a table: each byte that is written to `/dev/full` meets a full disk.
///
/// The table must be empty.
async fn fill(database: &Database, file: &Path) {
    std::fs::rename(file, file.with_extension("kept")).unwrap();
    symlink("/dev/full", file).unwrap();
    end_connections(database).await;
}

async fn make_room(database: &Database, file: &Path) {
    std::fs::remove_file(file).unwrap();
    std::fs::rename(file.with_extension("kept"), file).unwrap();
    end_connections(database).await;
}

/// Ends the connections of now, which may have the file open.
async fn end_connections(database: &Database) {
    let others =
        "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let pids = format!("SELECT string_agg(pid::text, ',') {others}");
    let pids = database.sql(&pids).await;
    let end = format!("SELECT pg_terminate_backend(pid) {others} AND pid IN ({pids})");
    database.sql(&end).await;
    let left = format!("SELECT count(*) {others} AND pid IN ({pids})");
    eventually("they have ended", async || database.sql(&left).await == "0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_messages_wait_for_room() {
    let server = PostgresServer::private().await;
    let database = server.database().await;
    let pool = PgPool::connect(database.url()).await.unwrap();
    let effects = "CREATE TABLE effect (number TEXT NOT NULL)";
    Postgres::run(&pool, effects).await.unwrap();
    let sql = Sql::postgres(pool.clone());
    sql.migrate().await.unwrap();
    let file =
        "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('bus_outbox')";
    let file = database.sql(file).await;
    fill(&database, Path::new(&file)).await;
    let row = "INSERT INTO bus_outbox (part, destination, metadata, body) VALUES (0, '', '', '')";
    eventually("the disk is full", async || {
        let error = Postgres::run(&pool, row).await.unwrap_err();
        let answer = error.as_database_error().expect("an answer of the server");
        answer.code().as_deref() == Some("53100")
    })
    .await;
    waits_for_room(&sql, "No space left on device", async || {
        make_room(&database, Path::new(&file)).await;
    })
    .await;
}
