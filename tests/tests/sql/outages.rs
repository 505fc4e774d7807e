//! Brokers and databases that go away while a service works: all waits without spinning, and happens once.

use std::time::Instant;

use bus_sql::sqlx::{Postgres, Sqlite};
use bus_tests::contracts::Ordered;
use bus_tests::mortal::{Ledger, Life, ordering_key};
use bus_tests::{Broker, PostgresServer, Proxy, eventually};
use tokio::task::JoinSet;

use crate::databases::{Fixture, TestDatabase, on_each_database};
use crate::service::Service;

on_each_database! {
    a_broker_that_is_killed_is_waited_for_without_spinning,
}

/// Connections that are asked for while a server is away: several back-offs have passed.
const ATTEMPTS: usize = 5;

/// Rate of them above which a service spins.
const PER_SECOND: f64 = 50.0;

/// Share of one processor above which a service spins.
const BUSY: f64 = 0.3;

/// What a service does while a server is away.
struct Away<'a> {
    life: &'a Life,
    wire: &'a Proxy,
    begun: Instant,
    attempts: usize,
    processor_time: f64,
}

impl<'a> Away<'a> {
    fn begin(life: &'a Life, wire: &'a Proxy) -> Self {
        Self {
            life,
            wire,
            begun: Instant::now(),
            attempts: wire.attempts(),
            processor_time: life.processor_time(),
        }
    }

    /// Waits until it has tried several times, and says so; it may not have spun meanwhile.
    async fn is_waited_for(&self) {
        eventually("it tries several times", async || {
            self.wire.attempts() >= self.attempts + ATTEMPTS
        })
        .await;
        eventually("it says so", async || !is_well(self.life)).await;
        let seconds = self.begun.elapsed().as_secs_f64();
        let tried = u32::try_from(self.wire.attempts() - self.attempts);
        let rate = f64::from(tried.expect("a small number")) / seconds;
        assert!(rate < PER_SECOND, "{rate} attempts a second: it spins");
        let time = self.life.processor_time() - self.processor_time;
        let busy = time / seconds;
        assert!(busy < BUSY, "busy for {busy} of {seconds} s: it spins");
    }
}

/// Whether it was well when it last said how it is.
fn is_well(life: &Life) -> bool {
    let written = life.written();
    let said = written.iter().rev();
    let mut said = said.filter(|line| ["well", "unwell"].contains(&line.as_str()));
    said.next().is_some_and(|line| line == "well")
}

async fn a_broker_that_is_killed_is_waited_for_without_spinning<DB: TestDatabase>() {
    let broker = Broker::private().await;
    let wire = Proxy::start(broker.host()).await;
    let mut service = Service::<DB>::on(DB::open().await, broker.url()).await;
    let life = service.life_behind("never", &wire.url(), &service.db.address);
    service.send(0..100).await;
    service.audit.takes(0..3).await;
    broker.kill().await;
    let away = Away::begin(&life, &wire);
    // Another process commits meanwhile; the relay has the rows.
    service.commit(1000..1050).await;
    away.is_waited_for().await;
    assert!(service.db.rows("outbox").await >= 50, "nothing left");
    broker.start_again().await;
    service.audit.takes((0..100).chain(1000..1050)).await;
    eventually("it is well again", async || is_well(&life)).await;
    service.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_is_waited_for_without_spinning() {
    let server = PostgresServer::private().await;
    let wire = Proxy::start(server.host()).await;
    let db = Fixture::of(&server).await;
    let mut service = Service::<Postgres>::on(db, Broker::shared().await.url()).await;
    let address = service.db.address.replace(server.host(), &wire.host());
    let broker = Broker::shared().await.url();
    let life = service.life_behind("never", broker, &address);
    service.send(0..50).await;
    service.audit.takes(0..3).await;
    server.kill().await;
    let away = Away::begin(&life, &wire);
    service.send(50..100).await;
    away.is_waited_for().await;
    assert!(service.audit.times(99) == 0, "it works without a database");
    server.start_again().await;
    service.audit.takes(0..100).await;
    service.ends_well().await;
}

/// The lock of the one writer stands for a database that does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_sqlite_that_is_locked_is_waited_for() {
    let mut service = Service::<Sqlite>::new().await;
    let life = service.life("never");
    service.send(0..20).await;
    service.audit.takes(0..3).await;
    let lock = service.db.sql.pool().begin_with("BEGIN IMMEDIATE").await;
    let before = life.processor_time();
    let begun = Instant::now();
    service.send(20..40).await;
    life.writes("unwell").await;
    let busy = (life.processor_time() - before) / begun.elapsed().as_secs_f64();
    assert!(busy < BUSY, "busy for {busy}: it spins");
    assert!(service.audit.times(39) == 0, "it works without a database");
    lock.expect("a lock").rollback().await.expect("released");
    service.audit.takes(0..40).await;
    service.ends_well().await;
}

/// Commits one number after the other, with its event, until the database is away.
async fn commit_until_it_fails(
    sql: bus_sql::Sql<Postgres>,
    sender: bus_core::send::Sender,
    audit: String,
    first: u32,
) -> Ledger {
    let mut ledger = Ledger::default();
    for number in first.. {
        let Ok(mut unit) = sql.begin(&sender).await else {
            return ledger;
        };
        ledger.attempt(number);
        if Postgres::effect(unit.conn(), &number.to_string())
            .await
            .is_err()
        {
            return ledger;
        }
        let event = unit.send_to(audit.as_str(), &Ordered { number });
        event
            .ordering_key(ordering_key(number))
            .await
            .expect("held");
        if unit.commit().await.is_err() {
            return ledger;
        }
        ledger.confirm(number);
    }
    ledger
}

/// Each round kills it among the commits of eight writers and a consumer; it recovers from its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_among_commits_loses_none_and_doubles_none() {
    const WRITERS: u32 = 8;
    let server = PostgresServer::private().await;
    let db = Fixture::of(&server).await;
    let mut service = Service::<Postgres>::on(db, Broker::shared().await.url()).await;
    let _life = service.life("never");
    for round in 0..3 {
        let mut writers = JoinSet::new();
        for writer in 1..=WRITERS {
            let first = (round * WRITERS + writer) * 1000;
            let (sql, sender) = (service.db.sql.clone(), service.bus.sender());
            writers.spawn(commit_until_it_fails(
                sql,
                sender,
                service.audit_address(),
                first,
            ));
        }
        service.send(round * 50..round * 50 + 50).await;
        let firsts = (1..=WRITERS).map(|writer| (round * WRITERS + writer) * 1000 + 3);
        let firsts: Vec<_> = firsts.collect();
        eventually("each writer has committed some", async || {
            let committed = service.db.committed().await;
            firsts.iter().all(|number| committed.contains(number))
        })
        .await;
        server.kill().await;
        for ledger in writers.join_all().await {
            let (attempted, confirmed) = ledger.counts();
            assert!(confirmed >= 3, "{confirmed} of {attempted} were confirmed");
            service.ledger.add(ledger);
        }
        server.start_again().await;
    }
    service.audit.takes(0..150).await;
    service.ends_well().await;
}
