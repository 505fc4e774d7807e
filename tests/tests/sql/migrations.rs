//! The tables: made, checked, and those of others.

use std::num::NonZeroU16;

use bus_sql::sqlx::{Postgres, Sqlite};
use bus_sql::{Sql, SqlErrorKind};
use futures_util::future::join_all;

use crate::databases::{TestDatabase, on_each_database};

on_each_database! {
    several_processes_make_the_tables_at_once,
    services_of_one_database_have_tables_of_their_own,
    the_statements_can_be_run_by_other_means,
    tables_that_are_not_there_are_named,
    tables_of_another_version_are_refused,
    a_table_of_another_is_refused,
}

async fn several_processes_make_the_tables_at_once<DB: TestDatabase>() {
    let db = DB::open().await;
    let processes = join_all((0..6).map(|_| DB::again(&db))).await;
    for made in join_all(processes.iter().map(Sql::migrate)).await {
        made.unwrap();
    }
    assert_eq!(db.rows("schema").await, 3);
    assert_eq!(db.rows("relay").await, 1);
}

async fn services_of_one_database_have_tables_of_their_own<DB: TestDatabase>() {
    let db = DB::open().await;
    let other = db.sql.clone().table_prefix("other_");
    db.sql.migrate().await.unwrap();
    other.migrate().await.unwrap();
    assert_eq!(
        DB::number(db.sql.pool(), "SELECT count(*) FROM other_outbox").await,
        0
    );
    let bad = db
        .sql
        .clone()
        .table_prefix("Bus; --")
        .migrate()
        .await
        .unwrap_err();
    assert_eq!(bad.kind(), SqlErrorKind::Configuration);
}

async fn the_statements_can_be_run_by_other_means<DB: TestDatabase>() {
    let db = DB::open().await;
    let sql = db.sql.clone().without_migrations();
    for migration in sql.migrations() {
        DB::run(sql.pool(), &migration.sql).await.unwrap();
        let (version, readable_by) = (migration.version, migration.readable_by);
        let done = format!(
            "INSERT INTO bus_schema (version, readable_by) VALUES ({version}, {readable_by})"
        );
        DB::run(sql.pool(), &done).await.unwrap();
    }
    sql.migrate().await.unwrap();
}

async fn tables_that_are_not_there_are_named<DB: TestDatabase>() {
    let db = DB::open().await;
    let error = db
        .sql
        .clone()
        .without_migrations()
        .migrate()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Schema);
    let text = error.to_string();
    assert!(
        text.contains("bus_*") && text.contains("Sql::migrations()"),
        "{text}"
    );
}

async fn tables_of_another_version_are_refused<DB: TestDatabase>() {
    let db = DB::open().await;
    db.sql.migrate().await.unwrap();
    let insert = |version: i32, readable_by: i32| {
        format!("INSERT INTO bus_schema (version, readable_by) VALUES ({version}, {readable_by})")
    };
    DB::run(db.sql.pool(), &insert(8, 1)).await.unwrap();
    DB::again(&db)
        .await
        .migrate()
        .await
        .expect("a newer one that it can work with");
    DB::run(db.sql.pool(), &insert(9, 9)).await.unwrap();
    let error = DB::again(&db).await.migrate().await.unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Schema);
    assert!(error.to_string().contains("version 9, newer"), "{error}");
    DB::run(db.sql.pool(), "DELETE FROM bus_schema")
        .await
        .unwrap();
    let older = DB::again(&db)
        .await
        .without_migrations()
        .migrate()
        .await
        .unwrap_err();
    assert!(older.to_string().contains("version 3 is needed"), "{older}");
}

async fn a_table_of_another_is_refused<DB: TestDatabase>() {
    for table in ["bus_inbox", "bus_schema"] {
        let db = DB::open().await;
        let foreign = format!("CREATE TABLE {table} (name text)");
        DB::run(db.sql.pool(), &foreign).await.unwrap();
        let error = db.sql.migrate().await.unwrap_err();
        assert_eq!(error.kind(), SqlErrorKind::Schema, "{error}");
        assert!(
            error.to_string().contains("choose another table_prefix"),
            "{error}"
        );
        db.sql
            .clone()
            .table_prefix("ours_")
            .migrate()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn postgres_has_schemas_and_partitions() {
    let db = Postgres::open().await;
    let count = |count| NonZeroU16::new(count).expect("more than none");
    let sql = db.sql.clone().schema("messaging").partitions(count(4));
    sql.migrate().await.unwrap();
    let rows = "SELECT count(*) FROM messaging.bus_relay";
    assert_eq!(Postgres::number(sql.pool(), rows).await, 4);
    let other = sql.clone().schema("messaging").partitions(count(2));
    let error = other.migrate().await.unwrap_err();
    assert_eq!(error.kind(), SqlErrorKind::Configuration);
    assert!(
        error.to_string().contains("4 partitions, and 2 are set"),
        "{error}"
    );
}

#[tokio::test]
async fn sqlite_prints_its_statements_with_the_names() {
    let db = Sqlite::open().await;
    let printed = db.sql.clone().table_prefix("x_").migrations();
    assert!(printed[0].sql.contains("CREATE TABLE x_outbox"));
    assert!(!printed[0].sql.contains('{'));
}
