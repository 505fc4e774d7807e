//! Messages of transactions outside of consumers.

use bus_core::error::SendErrorKind;
use bus_core::{Bus, Endpoint};
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, numbers};
use uuid::Uuid;

use crate::databases::{Fixture, TestDatabase, on_each_database};

on_each_database! {
    a_commit_counts_for_effects_and_messages,
    without_a_commit_nothing_happens,
    messages_join_a_transaction_that_is_there,
    a_sender_kept_too_long_is_refused,
    a_message_that_could_never_be_sent_is_refused_at_the_call,
}

/// A bus with a relay, and what its subscriber gets, one by one.
pub(crate) async fn listening<DB: TestDatabase>(
    db: &Fixture<DB>,
) -> (InMemoryTestBroker, Bus, Recorder<Ordered>) {
    let broker = InMemoryTestBroker::new();
    let ordered = Recorder::<Ordered>::new();
    let as_broker: &dyn TestBroker = &broker;
    let audit = Endpoint::new(as_broker.name("audit"))
        .concurrency(1)
        .consumer(ordered.clone());
    let bus = as_broker.bus().background(db.sql.relay()).endpoint(audit);
    let bus = bus.start().await.unwrap();
    (broker, bus, ordered)
}

async fn a_commit_counts_for_effects_and_messages<DB: TestDatabase>() {
    let db = DB::open().await;
    let (_broker, bus, ordered) = listening(&db).await;
    let id = Uuid::now_v7();
    let mut unit = db.sql.begin(&bus.sender()).await.unwrap();
    DB::effect(unit.conn(), "1").await.unwrap();
    let event = unit
        .publish(&Ordered { number: 1 })
        .message_id(id)
        .header("Tenant", "north");
    event.await.unwrap();
    assert_eq!(db.rows("outbox").await, 0, "not before the commit");
    unit.commit().await.unwrap();
    let received = ordered.next().await;
    assert_eq!(
        (received.message_id(), received.headers().text("Tenant")),
        (Some(id), Some("north"))
    );
    assert_eq!(db.effects().await, ["1"]);
    bus.shutdown().await.unwrap();
}

async fn without_a_commit_nothing_happens<DB: TestDatabase>() {
    let db = DB::open().await;
    let (_broker, bus, ordered) = listening(&db).await;
    let sender = bus.sender();
    for is_dropped in [true, false] {
        let mut unit = db.sql.begin(&sender).await.unwrap();
        DB::effect(unit.conn(), "1").await.unwrap();
        unit.publish(&Ordered { number: 1 }).await.unwrap();
        if is_dropped {
            drop(unit);
        } else {
            unit.roll_back().await.unwrap();
        }
    }
    let unit = db.sql.begin(&sender).await.unwrap();
    unit.publish(&Ordered { number: LAST }).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(numbers(&ordered.until_last().await), [0_u32; 0]);
    assert_eq!(db.effects().await, [""; 0]);
    bus.shutdown().await.unwrap();
}

async fn messages_join_a_transaction_that_is_there<DB: TestDatabase>() {
    let db = DB::open().await;
    let (_broker, bus, ordered) = listening(&db).await;
    for (number, is_committed) in [(1, true), (2, false), (LAST, true)] {
        let mut tx = db.sql.pool().begin().await.unwrap();
        DB::effect(&mut tx, &number.to_string()).await.unwrap();
        let outbox = db.sql.outbox(&bus.sender());
        outbox.publish(&Ordered { number }).await.unwrap();
        outbox.write(&mut tx).await.unwrap();
        if is_committed {
            tx.commit().await.unwrap();
            db.sql.wake();
        } else {
            tx.rollback().await.unwrap();
        }
    }
    assert_eq!(numbers(&ordered.until_last().await), [1]);
    assert_eq!(db.effects().await, ["1".to_owned(), LAST.to_string()]);
    bus.shutdown().await.unwrap();
}

async fn a_sender_kept_too_long_is_refused<DB: TestDatabase>() {
    let db = DB::open().await;
    let (_broker, bus, _ordered) = listening(&db).await;
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    let kept = unit.sender().clone();
    unit.commit().await.unwrap();
    let error = kept.publish(&Place { number: 1 }).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
    bus.shutdown().await.unwrap();
}

async fn a_message_that_could_never_be_sent_is_refused_at_the_call<DB: TestDatabase>() {
    let db = DB::open().await;
    let (_broker, bus, _ordered) = listening(&db).await;
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    let endless = unit
        .publish(&Ordered { number: 1 })
        .routing_key("k".repeat(300));
    let error = endless.await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Refused, "{error}");
    unit.commit().await.unwrap();
    assert_eq!(db.rows("outbox").await, 0);
    bus.shutdown().await.unwrap();
}
