//! Clocks that differ by minutes, and leases from before a clock was set back.

use std::time::{Duration, Instant};

use bus_core::Endpoint;
use bus_core::idempotency::{Begin, IdempotencyStore};
use bus_sql::Sql;
use bus_sql::sqlx::Postgres;
use bus_sql::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, numbers};
use uuid::Uuid;

use crate::databases::{Fixture, Placing, TestDatabase, on_each_database};

on_each_database! {
    a_lease_from_before_the_clock_was_set_back_is_taken,
}

async fn a_lease_from_before_the_clock_was_set_back_is_taken<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    db.sql.migrate().await.unwrap();
    let (dead, later) = if DB::NAME == "SQLite" {
        (
            "x'00112233445566778899aabbccddeeff'",
            "(unixepoch() + 600) * 1000000",
        )
    } else {
        (
            "'00112233-4455-6677-8899-aabbccddeeff'",
            "now() + interval '10 min'",
        )
    };
    let take = format!("UPDATE bus_relay SET owner = {dead}, lease_until = {later}");
    DB::run(db.sql.pool(), &take).await.unwrap();
    let ordered = Recorder::<Ordered>::new();
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker.bus().background(db.sql.relay()).endpoint(audit);
    let bus = bus.start().await.unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    unit.publish(&Ordered { number: 1 }).await.unwrap();
    unit.commit().await.unwrap();
    ordered.next().await;
    bus.shutdown().await.unwrap();
}

/// A server whose clock is ahead of this process, or behind it.
async fn skewed(minutes: i32) -> (Fixture<Postgres>, Sql<Postgres>) {
    let db = Postgres::open().await;
    let function = |name| {
        format!(
            "CREATE FUNCTION skewed.{name}() RETURNS timestamptz LANGUAGE sql AS \
             $$ SELECT pg_catalog.{name}() + interval '{minutes} min' $$"
        )
    };
    let [now, clock] = ["now", "clock_timestamp"].map(function);
    let clocks = format!("CREATE SCHEMA skewed; {now}; {clock}");
    Postgres::run(db.sql.pool(), &clocks).await.unwrap();
    let options: PgConnectOptions = db.address.parse().unwrap();
    let options = options.options([("search_path", "public,skewed,pg_catalog")]);
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let apart = "SELECT (extract(epoch FROM now() - pg_catalog.now()) / 60)::int8";
    assert_eq!(Postgres::number(&pool, apart).await, i64::from(minutes));
    (db, Sql::postgres(pool))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outbox_and_the_inbox_work_with_clocks_that_differ() {
    for minutes in [10, -10] {
        let (db, sql) = skewed(minutes).await;
        let broker = InMemoryTestBroker::new();
        let broker: &dyn TestBroker = &broker;
        let (placed, ordered) = (Recorder::new(), Recorder::<Ordered>::new());
        let sales = Endpoint::new(broker.name("sales")).concurrency(1);
        let audit = Endpoint::new(broker.name("audit")).concurrency(1);
        let audit = audit.consumer(ordered.clone());
        let bus = broker
            .bus()
            .background(sql.relay())
            .endpoint(sales.consumer(sql.consumer(Placing(placed.clone()))))
            .endpoint(audit);
        let bus = bus.start().await.unwrap();
        let id = Uuid::now_v7();
        for _ in 0..2 {
            let place = bus.publish(&Place { number: 1 }).message_id(id);
            place.await.unwrap();
        }
        bus.publish(&Place { number: LAST }).await.unwrap();
        assert_eq!(numbers(&placed.until_last().await), [1]);
        assert_eq!(ordered.next().await.message().number, 1);
        assert_eq!(sql.prune().await.unwrap(), 0, "seven days are not over");
        let (begun, wait) = (Instant::now(), Duration::from_millis(1500));
        let unit = sql.begin(&bus.sender()).await.unwrap();
        let later = unit.publish(&Ordered { number: 2 }).deliver_in(wait);
        later.await.unwrap();
        unit.commit().await.unwrap();
        while ordered.next().await.message().number != 2 {}
        assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
        bus.shutdown().await.unwrap();
        drop(db);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_store_works_with_clocks_that_differ() {
    for minutes in [10, -10] {
        let (_db, sql) = skewed(minutes).await;
        let (store, lease) = (sql.idempotency(), Duration::from_secs(300));
        let Begin::Fresh(token) = store.begin("key", Uuid::nil(), lease).await.unwrap() else {
            panic!("the key is new");
        };
        let again = store.begin("key", Uuid::nil(), lease).await.unwrap();
        assert_eq!(again, Begin::InProgress);
        assert!(store.complete(&token, Vec::new(), lease).await.unwrap());
        let again = store.begin("key", Uuid::nil(), lease).await.unwrap();
        assert_eq!(again, Begin::Done(Vec::new()));
        assert_eq!(sql.prune().await.unwrap(), 0);
    }
}
