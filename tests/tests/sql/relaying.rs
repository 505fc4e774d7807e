//! The relay: order, refusals, leases, and brokers that are away.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::transport::{Outgoing, TransportError, TransportErrorKind};
use bus_core::{Bus, ConsumeContext, Endpoint};
use bus_sql::Sql;
use bus_sql::sqlx::Postgres;
use bus_tests::contracts::{LAST, Ordered};
use bus_tests::{InMemoryTestBroker, Recorder, Rig, TestBroker, eventually, numbers};

use crate::databases::{TestDatabase, on_each_database};

on_each_database! {
    a_backlog_is_sent_in_order,
    the_order_of_a_key_outlives_failures,
    a_broker_that_is_away_is_waited_for,
    of_two_relays_one_sends,
    a_relay_that_stops_is_followed_by_another,
    a_relay_waits_while_another_has_its_lease,
}

/// Writes events, each in a transaction of its own.
pub(crate) async fn write<DB: TestDatabase>(
    sql: &Sql<DB>,
    bus: &Bus,
    events: impl IntoIterator<Item = u32>,
) {
    for number in events {
        let unit = sql.begin(&bus.sender()).await.unwrap();
        unit.publish(&Ordered { number }).await.unwrap();
        unit.commit().await.unwrap();
    }
}

pub(crate) fn audit(broker: &dyn TestBroker, ordered: &Recorder<Ordered>) -> Endpoint {
    Endpoint::new(broker.name("audit"))
        .concurrency(1)
        .consumer(ordered.clone())
}

pub(crate) fn received(ordered: &[ConsumeContext<Ordered>]) -> Vec<u32> {
    ordered.iter().map(|ctx| ctx.message().number).collect()
}

async fn a_backlog_is_sent_in_order<DB: TestDatabase>() {
    const COUNT: u32 = 3000;
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let writer = broker.bus().start().await.unwrap();
    let unit = db.sql.begin(&writer.sender()).await.unwrap();
    for number in 0..COUNT {
        unit.publish(&Ordered { number }).await.unwrap();
    }
    unit.commit().await.unwrap();
    assert_eq!(db.rows("outbox").await, i64::from(COUNT));
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    let all = ordered.take(COUNT as usize).await;
    let misplaced = (0..COUNT)
        .zip(received(&all))
        .find(|(at, number)| at != number);
    assert_eq!(misplaced, None, "the place, and the event there");
    bus.shutdown().await.unwrap();
    assert_eq!(db.rows("outbox").await, 0);
    writer.shutdown().await.unwrap();
}

/// Refuses each message some times, for now.
#[derive(Default)]
struct Nacking(Mutex<HashMap<String, usize>>);

#[async_trait]
impl Rig for Nacking {
    async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        let id = outgoing.message_id.clone().unwrap_or_default();
        let mut failed = self.0.lock().unwrap();
        let limit = if id.ends_with(['0', '3', '7', 'b', 'e']) {
            2
        } else {
            0
        };
        let count = failed.entry(id).or_default();
        *count += 1;
        if *count <= limit {
            return Err(TransportError::new(TransportErrorKind::Nacked, "not now"));
        }
        Ok(())
    }
}

async fn the_order_of_a_key_outlives_failures<DB: TestDatabase>() {
    const KEYS: u32 = 5;
    const COUNT: u32 = 100;
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let (ordered, rig) = (Recorder::new(), Arc::new(Nacking::default()));
    let bus = broker
        .rigged(&rig)
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    for number in 0..COUNT {
        let unit = db.sql.begin(&bus.sender()).await.unwrap();
        let event = unit.publish(&Ordered { number });
        event
            .ordering_key(format!("key {}", number % KEYS))
            .await
            .unwrap();
        unit.commit().await.unwrap();
    }
    let all = received(&ordered.take(COUNT as usize).await);
    assert!(
        rig.0.lock().unwrap().values().any(|count| *count == 3),
        "some failed first"
    );
    for key in 0..KEYS {
        let of_key: Vec<_> = all
            .iter()
            .copied()
            .filter(|number| number % KEYS == key)
            .collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
        assert_eq!(of_key.len(), (COUNT / KEYS) as usize);
    }
    bus.shutdown().await.unwrap();
}

/// A broker that is away until it is switched on.
#[derive(Default)]
struct Away {
    is_here: AtomicBool,
    tried: AtomicUsize,
}

#[async_trait]
impl Rig for Away {
    async fn send(&self, _: &Outgoing) -> Result<(), TransportError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        if self.is_here.load(Ordering::SeqCst) {
            return Ok(());
        }
        // As a transport does that waits for its broker up to a deadline.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(TransportError::new(
            TransportErrorKind::Unreachable,
            "no broker",
        ))
    }
}

async fn a_broker_that_is_away_is_waited_for<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let (ordered, rig) = (Recorder::new(), Arc::new(Away::default()));
    let bus = broker
        .rigged(&rig)
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    write(&db.sql, &bus, 0..5).await;
    eventually("it was tried", async || {
        rig.tried.load(Ordering::SeqCst) >= 10
    })
    .await;
    eventually("the health says so", async || !bus.health().is_healthy()).await;
    let tries = rig.tried.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let more = rig.tried.load(Ordering::SeqCst) - tries;
    assert!(more < 100, "{more} tries in 0.3 s: it spins");
    rig.is_here.store(true, Ordering::SeqCst);
    assert_eq!(numbers(&ordered.take(5).await), [0, 1, 2, 3, 4]);
    eventually("the health is good again", async || {
        bus.health().is_healthy()
    })
    .await;
    assert_eq!(db.rows("parked").await, 0);
    bus.shutdown().await.unwrap();
}

async fn of_two_relays_one_sends<DB: TestDatabase>() {
    const COUNT: u32 = 200;
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let (ordered, other) = (Recorder::new(), DB::again(&db).await);
    let one = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let one = one.start().await.unwrap();
    let two = broker
        .bus()
        .background(other.relay())
        .start()
        .await
        .unwrap();
    for number in 0..COUNT {
        let sql = if number % 2 == 0 { &db.sql } else { &other };
        write(sql, &one, [number]).await;
    }
    write(&other, &one, [LAST]).await;
    let received = received(&ordered.until_last().await);
    assert_eq!(
        received,
        (0..COUNT).collect::<Vec<_>>(),
        "each once, in order"
    );
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
}

async fn a_relay_that_stops_is_followed_by_another<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let (ordered, other) = (Recorder::new(), DB::again(&db).await);
    let one = broker
        .bus()
        .background(db.sql.relay())
        .start()
        .await
        .unwrap();
    let two = broker
        .bus()
        .background(other.relay())
        .endpoint(audit(broker, &ordered));
    let two = two.start().await.unwrap();
    write(&db.sql, &one, [1]).await;
    assert_eq!(received(&[ordered.next().await]), [1]);
    one.shutdown().await.unwrap();
    write(&other, &two, [2]).await;
    assert_eq!(received(&[ordered.next().await]), [2]);
    two.shutdown().await.unwrap();
}

/// The relay of a process that died keeps its lease until that runs out.
async fn a_relay_waits_while_another_has_its_lease<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    db.sql.migrate().await.unwrap();
    let (nobody, soon) = if DB::NAME == "SQLite" {
        (
            "x'00112233445566778899aabbccddeeff'",
            "(unixepoch() + 2) * 1000000",
        )
    } else {
        (
            "'00112233-4455-6677-8899-aabbccddeeff'",
            "now() + interval '2 s'",
        )
    };
    let take = format!("UPDATE bus_relay SET owner = {nobody}, epoch = 7, lease_until = {soon}");
    DB::run(db.sql.pool(), &take).await.unwrap();
    let begun = std::time::Instant::now();
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    write(&db.sql, &bus, [1]).await;
    assert_eq!(received(&[ordered.next().await]), [1]);
    assert!(
        begun.elapsed() > Duration::from_millis(900),
        "it was not waited for"
    );
    assert_eq!(
        DB::number(db.sql.pool(), "SELECT epoch FROM bus_relay").await,
        8
    );
    bus.shutdown().await.unwrap();
}

/// By the poll alone, each would take a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_another_process_wakes_the_relay() {
    let (broker, db) = (InMemoryTestBroker::new(), Postgres::open().await);
    let broker: &dyn TestBroker = &broker;
    let (ordered, other) = (Recorder::new(), Postgres::again(&db).await);
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    let begun = std::time::Instant::now();
    for number in 0..20 {
        write(&other, &bus, [number]).await;
        assert_eq!(received(&[ordered.next().await]), [number]);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_partition_keeps_the_order_of_its_keys() {
    const COUNT: u32 = 200;
    let (broker, mut db) = (InMemoryTestBroker::new(), Postgres::open().await);
    let broker: &dyn TestBroker = &broker;
    db.sql = db.sql.clone().partitions(NonZeroU16::new(4).unwrap());
    let ordered = Recorder::new();
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    for number in 0..COUNT {
        let event = unit.publish(&Ordered { number });
        event
            .ordering_key(format!("key {}", number % 10))
            .await
            .unwrap();
    }
    unit.commit().await.unwrap();
    let all = received(&ordered.take(COUNT as usize).await);
    for key in 0..10 {
        let of_key: Vec<_> = all
            .iter()
            .copied()
            .filter(|number| number % 10 == key)
            .collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    bus.shutdown().await.unwrap();
}
