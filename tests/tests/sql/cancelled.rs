//! Calls that are dropped at any point, as a timeout or a stop drops them.

use std::cell::Cell;
use std::time::Instant;

use bus_core::send::Sender;
use bus_sql::SqlError;
use bus_tests::contracts::Ordered;
use bus_tests::{InMemoryTestBroker, TestBroker, eventually};

use crate::databases::{Fixture, TestDatabase, on_each_database};

on_each_database! {
    a_thousand_dropped_calls_leave_the_pool_usable,
}

const BEGIN: usize = 0;
const EFFECT: usize = 1;
const COMMIT: usize = 2;
const DONE: usize = 3;

/// An effect and its event; notes how far it came.
async fn work<DB: TestDatabase>(
    db: &Fixture<DB>,
    sender: &Sender,
    step: &Cell<usize>,
) -> Result<(), SqlError> {
    step.set(BEGIN);
    let mut unit = db.sql.begin(sender).await?;
    step.set(EFFECT);
    DB::effect(unit.conn(), "effect").await?;
    unit.publish(&Ordered { number: 1 }).await.unwrap();
    step.set(COMMIT);
    unit.commit().await?;
    step.set(DONE);
    Ok(())
}

/// A dropped `begin` must not put a connection with an open transaction back into the pool.
async fn a_thousand_dropped_calls_leave_the_pool_usable<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let bus = broker.bus().start().await.unwrap();
    let (sender, step) = (bus.sender(), Cell::new(BEGIN));
    work(&db, &sender, &step).await.unwrap();
    let begun = Instant::now();
    work(&db, &sender, &step).await.unwrap();
    let usual = begun.elapsed();
    let mut ends = [0; 4];
    for round in 0..1000 {
        let patience = usual.mul_f64(f64::from(round % 50) / 40.0);
        let ended = tokio::time::timeout(patience, work(&db, &sender, &step)).await;
        if let Ok(outcome) = ended {
            outcome.unwrap();
        }
        ends[step.get()] += 1;
    }
    assert!(ends[BEGIN] > 0 && ends[COMMIT] > 0, "{ends:?}");
    // Commits go on without their callers: each effect has its message.
    eventually("all commits have ended", async || {
        db.effects().await.len() == usize::try_from(db.rows("outbox").await).unwrap()
    })
    .await;
    assert!(db.effects().await.len() >= ends[DONE]);
    // What each connection of the pool writes by itself is seen by others.
    let before = db.effects().await.len();
    let mut conns = Vec::new();
    for _ in 0..db.sql.pool().options().get_max_connections() {
        let mut conn = db.sql.pool().acquire().await.unwrap();
        DB::effect(&mut conn, "after").await.unwrap();
        conns.push(conn);
    }
    let other = DB::again(&db).await;
    assert_eq!(DB::effects(other.pool()).await.len(), before + conns.len());
    drop(conns);
    bus.shutdown().await.unwrap();
}
