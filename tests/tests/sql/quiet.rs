//! Relays that have nothing to do, or cannot: how much they ask of the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bus_core::Endpoint;
use bus_core::transport::{Outgoing, TransportError, TransportErrorKind};
use bus_sql::Sql;
use bus_sql::sqlx::postgres::{PgListener, PgPoolOptions};
use bus_sql::sqlx::{PgPool, Postgres};
use bus_tests::contracts::Ordered;
use bus_tests::{InMemoryTestBroker, Log, Proxy, Recorder, Rig, TestBroker, eventually};
use tokio::time::{sleep, timeout};
use tracing::subscriber::DefaultGuard;

use crate::databases::TestDatabase;

/// Time over which is counted.
const WINDOW: Duration = Duration::from_secs(3);

/// Counts the statements of this thread.
fn statements() -> (Log, DefaultGuard) {
    Log::of_this_thread(tracing::Level::DEBUG)
}

/// The number of statements in a while.
async fn count(log: &Log) -> usize {
    let before = log.lines_with("sqlx::query").len();
    sleep(WINDOW).await;
    log.lines_with("sqlx::query").len() - before
}

async fn write(sql: &Sql<Postgres>, bus: &bus_core::Bus, count: u32) {
    let unit = sql.begin(&bus.sender()).await.unwrap();
    for number in 0..count {
        unit.publish(&Ordered { number }).await.unwrap();
    }
    unit.commit().await.unwrap();
}

#[tokio::test]
async fn an_idle_relay_asks_a_few_times_a_second() {
    let (log, _here) = statements();
    let db = Postgres::open().await;
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let bus = broker.bus().background(db.sql.relay()).start().await;
    let bus = bus.unwrap();
    eventually("it has begun", async || {
        !log.lines_with("bus_relay").is_empty()
    })
    .await;
    let asked = count(&log).await;
    // Each second: what is due, when the next is, what waits; each third one, the lease.
    assert!((3..30).contains(&asked), "{asked} statements in {WINDOW:?}");
    bus.shutdown().await.unwrap();
}

/// A broker that takes nothing, and says so at once.
struct Away;

#[async_trait]
impl Rig for Away {
    async fn send(&self, _: &Outgoing) -> Result<(), TransportError> {
        let kind = TransportErrorKind::Unreachable;
        Err(TransportError::new(kind, "no broker"))
    }
}

#[tokio::test]
async fn a_relay_whose_broker_is_away_does_not_spin() {
    let (log, _here) = statements();
    let db = Postgres::open().await;
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let bus = broker.rigged(&Arc::new(Away)).background(db.sql.relay());
    let bus = bus.start().await.unwrap();
    write(&db.sql, &bus, 2000).await;
    eventually("it has failed", async || !bus.health().is_healthy()).await;
    let asked = count(&log).await;
    assert!(asked < 100, "{asked} statements in {WINDOW:?}");
    bus.shutdown().await.unwrap();
    assert_eq!(db.rows("outbox").await, 2000);
    assert_eq!(db.rows("parked").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_whose_database_is_away_does_not_spin() {
    let db = Postgres::open().await;
    let (_, rest) = db.address.split_once('@').unwrap();
    let (host, _) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(host).await;
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(1));
    let pool: PgPool = pool
        .connect(&db.address.replace(host, &proxy.host()))
        .await
        .unwrap();
    let sql = Sql::postgres(pool);
    let (broker, ordered) = (InMemoryTestBroker::new(), Recorder::<Ordered>::new());
    let broker: &dyn TestBroker = &broker;
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker.bus().background(sql.relay()).endpoint(audit);
    let bus = bus.start().await.unwrap();
    proxy.refuse(true);
    proxy.cut();
    eventually("the health says so", async || !bus.health().is_healthy()).await;
    let before = proxy.refusals();
    sleep(WINDOW).await;
    let asked = proxy.refusals() - before;
    assert!(asked < 100, "{asked} connections in {WINDOW:?}");
    assert!(proxy.refusals() > 0, "it was away");
    write(&db.sql, &bus, 1).await;
    proxy.refuse(false);
    ordered.next().await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_processes_are_notified_a_hundred_times_a_second_at_most() {
    const COMMITS: usize = 300;
    let db = Postgres::open().await;
    db.sql.migrate().await.unwrap();
    let broker = InMemoryTestBroker::new();
    let broker: &dyn TestBroker = &broker;
    let bus = broker.bus().start().await.unwrap();
    let mut listener = PgListener::connect(&db.address).await.unwrap();
    listener.listen("bus_outbox").await.unwrap();
    let begun = Instant::now();
    let commits = (0..COMMITS).map(|_| write(&db.sql, &bus, 1));
    futures_util::future::join_all(commits).await;
    let most = usize::try_from(begun.elapsed().as_millis() / 10).unwrap() + 3;
    let mut notified = 0;
    while timeout(Duration::from_secs(1), listener.recv())
        .await
        .is_ok()
    {
        notified += 1;
    }
    assert!(
        (1..=most).contains(&notified),
        "{notified} notifications for {COMMITS} commits, in {:?}",
        begun.elapsed()
    );
    bus.shutdown().await.unwrap();
}
