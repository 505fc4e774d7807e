//! Commits whose answer is lost, and commits that do not reach the database.

use std::time::Duration;

use bus_core::Endpoint;
use bus_sql::sqlx::Postgres;
use bus_sql::sqlx::postgres::PgPoolOptions;
use bus_sql::{Sql, SqlErrorKind};
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::{
    Broker, Cut, PostgresServer, Proxy, RabbitMqTestBroker, Recorder, TestBroker, numbers,
};

use crate::databases::{Fixture, Placing, TestDatabase};

/// A commit as it is on the wire, in the request and in the answer.
const COMMIT: &[u8] = b"COMMIT\0";

/// A database behind a wire that can be cut, and the handle that uses it.
struct Wired {
    db: Fixture<Postgres>,
    wire: Proxy,
    sql: Sql<Postgres>,
}

impl Wired {
    async fn open() -> Self {
        let server = PostgresServer::shared().await;
        let wire = Proxy::start(server.host()).await;
        let db = Fixture::of(server).await;
        let address = db.address.replace(server.host(), &wire.host());
        let pool = PgPoolOptions::new()
            .max_connections(6)
            .acquire_timeout(Duration::from_secs(30))
            .connect(&address);
        let sql = Sql::postgres(pool.await.expect("a database"));
        sql.migrate().await.expect("tables");
        Self { db, wire, sql }
    }
}

/// Cuts the commit of a consumer; returns how often it ran.
/// Its effect happened once, and so did its event.
async fn attempts(cut: Cut) -> usize {
    let broker = RabbitMqTestBroker::at(Broker::shared().await.url()).await;
    let broker: &dyn TestBroker = &broker;
    let (placed, ordered) = (Recorder::new(), Recorder::<Ordered>::new());
    let wired = Wired::open().await;
    let sales = Endpoint::new(broker.name("sales")).concurrency(1);
    let audit = Endpoint::new(broker.name("audit")).concurrency(1);
    let bus = broker
        .bus()
        .background(wired.sql.relay())
        .endpoint(sales.consumer(wired.sql.consumer(Placing(placed.clone()))))
        .endpoint(audit.consumer(ordered.clone()))
        .start()
        .await
        .expect("both are up");
    wired.wire.cut_at(COMMIT, cut);
    bus.publish(&Place { number: 7 }).await.expect("confirmed");
    // Its own event, or the one of a later look of the relay.
    assert_eq!(numbers(&[ordered.next().await]), [7]);
    assert_eq!(wired.wire.cuts(), 1, "the commit was cut");
    bus.publish(&Place { number: LAST })
        .await
        .expect("confirmed");
    assert_eq!(numbers(&ordered.until_last().await), [0_u32; 0]);
    assert_eq!(wired.db.committed().await, [7, LAST]);
    bus.shutdown().await.expect("stopped");
    // Without the sentinel.
    placed.calls() - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_recognized_and_not_repeated() {
    assert_eq!(attempts(Cut::BeforeAnswer).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_does_not_reach_the_database_is_repeated() {
    assert_eq!(attempts(Cut::BeforeRequest).await, 2);
}

/// Outside of a consumer, the caller alone can find out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_says_that_the_outcome_of_its_commit_is_unknown() {
    let broker = RabbitMqTestBroker::at(Broker::shared().await.url()).await;
    let bus = (&broker as &dyn TestBroker).bus().start().await;
    let bus = bus.expect("the broker is up");
    for (cut, committed) in [(Cut::BeforeRequest, false), (Cut::BeforeAnswer, true)] {
        let wired = Wired::open().await;
        let mut unit = wired.sql.begin(&bus.sender()).await.expect("begun");
        Postgres::effect(unit.conn(), "7").await.expect("an effect");
        unit.publish(&Ordered { number: 7 }).await.expect("held");
        wired.wire.cut_at(COMMIT, cut);
        let error = unit.commit().await.expect_err("cut");
        assert_eq!(error.kind(), SqlErrorKind::Unavailable, "{error}");
        assert_eq!(wired.wire.cuts(), 1);
        assert_eq!(wired.db.committed().await.len(), usize::from(committed));
        assert_eq!(wired.db.rows("outbox").await, i64::from(committed));
    }
    bus.shutdown().await.expect("stopped");
}
