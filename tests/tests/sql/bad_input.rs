//! Databases that are not as they must be: clear errors, and nothing lost.

use std::time::Duration;

use bus_core::{Bus, Endpoint};
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use bus_sql::sqlx::{PgPool, Postgres, Sqlite, SqlitePool};
use bus_sql::{Sql, SqlErrorKind};
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{Database, InMemoryTestBroker, PostgresServer, Recorder, TestBroker, eventually};

use crate::databases::{Placing, TestDatabase, on_each_database, stop_unfailed};

on_each_database! {
    a_table_without_a_column_is_refused,
    a_table_that_is_gone_is_named,
    tables_without_the_row_of_the_relay_are_refused,
    messages_wait_for_a_table_that_is_gone,
}

/// The error of a process that starts after a change of the tables.
async fn refused<DB: TestDatabase>(change: &str) -> String {
    let db = DB::open().await;
    db.sql.migrate().await.unwrap();
    DB::run(db.sql.pool(), change).await.unwrap();
    let error = DB::again(&db).await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Schema, "{error}");
    error.to_string()
}

async fn a_table_without_a_column_is_refused<DB: TestDatabase>() {
    let text = refused::<DB>("ALTER TABLE bus_outbox DROP COLUMN attempts").await;
    assert!(text.contains("bus_outbox has no column attempts"), "{text}");
}

async fn a_table_that_is_gone_is_named<DB: TestDatabase>() {
    let text = refused::<DB>("DROP TABLE bus_idempotency").await;
    assert!(text.contains("bus_idempotency is not there"), "{text}");
}

async fn tables_without_the_row_of_the_relay_are_refused<DB: TestDatabase>() {
    let text = refused::<DB>("DELETE FROM bus_relay").await;
    assert!(text.contains("the row of partition 0"), "{text}");
}

async fn messages_wait_for_a_table_that_is_gone<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let placed = Recorder::new();
    db.sql.migrate().await.unwrap();
    let bus = selling(broker, &db.sql, &placed).await;
    let rename = async |from: &str, to: &str| {
        let rename = format!("ALTER TABLE {from} RENAME TO {to}");
        DB::run(db.sql.pool(), &rename).await.unwrap();
    };
    rename("bus_inbox", "elsewhere").await;
    bus.publish(&Place { number: 1 }).await.unwrap();
    waits(&bus, "bus_inbox").await;
    assert_eq!(placed.calls(), 0);
    rename("elsewhere", "bus_inbox").await;
    placed.next().await;
    stop_unfailed(broker, "sales", bus).await;
    assert_eq!(db.effects().await, ["1"]);
}

/// A bus whose consumer has no retry, and so ends in the error queue at its first failure.
async fn selling<DB: TestDatabase>(
    broker: &dyn TestBroker,
    sql: &Sql<DB>,
    placed: &Recorder<Place>,
) -> Bus {
    let sales = Endpoint::new(broker.name("sales"));
    let sales = sales.consumer(sql.consumer(Placing(placed.clone())));
    broker.start(sales).await.unwrap()
}

/// Waits until the health says that messages wait, and for what.
async fn waits(bus: &Bus, reason: &str) {
    eventually("the health says so", async || {
        format!("{:?}", bus.health()).contains(reason)
    })
    .await;
}

/// A database with tables, and a user who may log in and has these rights.
async fn user(rights: &str) -> (Database, PgPool) {
    let db = PostgresServer::shared().await.database().await;
    let name = db.name();
    Sql::postgres(PgPool::connect(db.url()).await.unwrap())
        .migrate()
        .await
        .unwrap();
    let role = format!("CREATE ROLE {name} LOGIN PASSWORD 's3cret'; GRANT {rights} TO {name}");
    db.sql(&format!("CREATE TABLE effect (number TEXT); {role}"))
        .await;
    let pool = PgPool::connect(&db.url_as(name, "s3cret")).await.unwrap();
    (db, pool)
}

#[tokio::test]
async fn rights_that_a_relay_lacks_are_said_at_the_start() {
    let (_db, pool) = user("SELECT ON ALL TABLES IN SCHEMA public").await;
    let sql = Sql::postgres(pool);
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let error = broker.bus().background(sql.relay()).start().await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("GRANT INSERT ON bus_outbox") && text.contains("DELETE ON bus_inbox"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_wait_for_rights() {
    let (db, pool) = user("SELECT, INSERT ON effect, bus_schema, bus_relay, bus_inbox").await;
    let (broker, placed) = (InMemoryTestBroker::new(), Recorder::new());
    let broker: &dyn TestBroker = &broker;
    let bus = selling(broker, &Sql::postgres(pool.clone()), &placed).await;
    bus.publish(&Place { number: 1 }).await.unwrap();
    waits(&bus, "permission denied for table bus_outbox").await;
    assert_eq!(Postgres::effects(&pool).await, [""; 0]);
    let rights = format!("GRANT INSERT ON bus_outbox, bus_topology TO {}", db.name());
    db.sql(&rights).await;
    eventually("it is handled", async || {
        Postgres::effects(&pool).await.len() == 1
    })
    .await;
    stop_unfailed(broker, "sales", bus).await;
}

#[tokio::test]
async fn a_schema_that_may_not_be_made_is_said() {
    let (_db, pool) = user("SELECT ON bus_schema").await;
    let sql = Sql::postgres(pool).schema("private");
    let error = sql.migrate().await.unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Schema, "{error}");
    let text = error.to_string();
    assert!(text.contains("without_migrations()"), "{text}");
}

#[tokio::test]
async fn a_wrong_password_or_name_is_a_mistake_of_the_configuration() {
    let db = PostgresServer::shared().await.database().await;
    let other = db.url().replace(db.name(), "nowhere");
    for url in [db.url_as("stranger", "s3cret"), other] {
        let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(5));
        let sql = Sql::postgres(pool.connect_lazy(&url).unwrap());
        let error = sql.migrate().await.unwrap_err();
        assert_eq!(error.kind(), SqlErrorKind::Configuration, "{error}");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}

fn lazy(options: SqliteConnectOptions) -> Sql<Sqlite> {
    Sql::sqlite(SqlitePoolOptions::new().connect_lazy_with(options))
}

#[tokio::test]
async fn a_file_that_is_no_database_is_a_mistake_of_the_configuration() {
    let db = Sqlite::open().await;
    let file = format!("{}-text", db.address);
    std::fs::write(&file, "no database".repeat(100)).unwrap();
    let error = lazy(SqliteConnectOptions::new().filename(&file))
        .migrate()
        .await;
    std::fs::remove_file(&file).unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Configuration, "{error}");
    assert!(error.to_string().contains("not a database"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_there_or_read_only_is_said_at_the_start() {
    let db = Sqlite::open().await;
    db.sql.migrate().await.unwrap();
    let options = || SqliteConnectOptions::new().filename(&db.address);
    let absent = SqliteConnectOptions::new().filename("/nowhere/bus.db");
    for (options, words) in [(options().read_only(true), "readonly"), (absent, "open")] {
        let broker = InMemoryTestBroker::new();
        let broker: &dyn TestBroker = &broker;
        let bus = broker.bus().background(lazy(options).relay());
        let text = bus.start().await.unwrap_err().to_string();
        assert!(text.contains("sql-relay") && text.contains(words), "{text}");
    }
}

/// What SQLite lets pass by the types of its columns, and no writer of ours writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_were_edited_by_hand_are_parked_and_the_rest_goes_on() {
    const EDITS: [&str; 5] = [
        "metadata = CAST(x'ff' AS TEXT)",
        "topology = x'0102'",
        "attempts = 99999",
        "destination = CAST(x'ff' AS TEXT)",
        "topology = NULL",
    ];
    let (broker, db) = (InMemoryTestBroker::new(), Sqlite::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::<Ordered>::new();
    let writer = broker.bus().start().await.unwrap();
    let unit = db.sql.begin(&writer.sender()).await.unwrap();
    for number in 0..=5 {
        unit.publish(&Ordered { number }).await.unwrap();
    }
    unit.commit().await.unwrap();
    for (id, edit) in (1..).zip(EDITS) {
        let edit = format!("UPDATE bus_outbox SET {edit} WHERE id = {id}");
        Sqlite::run(db.sql.pool(), &edit).await.unwrap();
    }
    let wrong = "UPDATE bus_outbox SET body = 'text'";
    let refused = Sqlite::run(db.sql.pool(), wrong).await.unwrap_err();
    assert!(
        refused.to_string().contains("cannot store TEXT"),
        "{refused}"
    );
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker.bus().background(db.sql.relay()).endpoint(audit);
    let bus = bus.start().await.unwrap();
    assert_eq!(ordered.next().await.message().number, 5);
    eventually("the others are parked", async || {
        db.rows("parked").await == 5
    })
    .await;
    let parked = db.sql.parked(10).await.unwrap();
    assert!(parked[1].reason.contains("cannot be read"), "{parked:?}");
    let ids: Vec<_> = parked.iter().map(|parked| parked.id).collect();
    assert_eq!(db.sql.discard(&ids).await.unwrap(), 5);
    bus.shutdown().await.unwrap();
    writer.shutdown().await.unwrap();
}

/// The next message finds the connection as it was before, and the database in memory too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_transaction_was_ended_is_used_again() {
    let options = SqlitePoolOptions::new().max_connections(1);
    let options = options.idle_timeout(None).max_lifetime(None);
    let pool: SqlitePool = options.connect("sqlite::memory:").await.unwrap();
    Sqlite::run(&pool, "CREATE TABLE effect (number TEXT)")
        .await
        .unwrap();
    let sql = Sql::sqlite(pool.clone());
    let (broker, placed) = (InMemoryTestBroker::new(), Recorder::new());
    let broker: &dyn TestBroker = &broker;
    let ending = sql.consumer(crate::errors::Committing);
    let bus = broker
        .bus()
        .endpoint(Endpoint::new(broker.name("ending")).consumer(ending))
        .endpoint(
            Endpoint::new(broker.name("sales")).consumer(sql.consumer(Placing(placed.clone()))),
        );
    let bus = bus.start().await.unwrap();
    let send = async |queue, number| {
        let queue = bus_core::queue(broker.name(queue));
        bus.send_to(queue, &Place { number }).await.unwrap();
    };
    send("ending", 1).await;
    broker
        .until_depth(&format!("{}_error", broker.name("ending")), 1)
        .await;
    send("sales", 2).await;
    placed.next().await;
    stop_unfailed(broker, "sales", bus).await;
    assert_eq!(Sqlite::effects(&pool).await, ["2"]);
}
