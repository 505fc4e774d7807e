//! Forgetting, and views for operators.

use std::time::Duration;

use bus_core::Endpoint;
use bus_core::idempotency::IdempotencyStore;
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, eventually};
use uuid::Uuid;

use crate::databases::{Placing, TestDatabase, on_each_database};

on_each_database! {
    handled_messages_are_forgotten_in_time,
    the_backlog_is_counted,
    old_idempotency_keys_are_forgotten,
}

async fn handled_messages_are_forgotten_in_time<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let placed = Recorder::new();
    let sales =
        Endpoint::new(broker.name("sales")).consumer(db.sql.consumer(Placing(placed.clone())));
    let bus = broker.start(sales).await.unwrap();
    for number in 0..5 {
        bus.publish(&Place { number }).await.unwrap();
    }
    placed.take(5).await;
    bus.shutdown().await.unwrap();
    assert_eq!(db.sql.prune().await.unwrap(), 0, "seven days are not over");
    assert_eq!(db.rows("inbox").await, 5);
    let forgetful = db.sql.clone().remember(Duration::ZERO);
    assert_eq!(forgetful.prune().await.unwrap(), 5);
    assert_eq!(db.rows("inbox").await, 0);
}

async fn the_backlog_is_counted<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let bus = broker.bus().start().await.unwrap();
    let empty = db.sql.backlog().await.unwrap();
    assert_eq!(
        (empty.waiting, empty.scheduled, empty.parked, empty.oldest),
        (0, 0, 0, None)
    );
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    for number in 0..3 {
        unit.publish(&Ordered { number }).await.unwrap();
    }
    let later = unit.publish(&Ordered { number: 3 });
    later.deliver_in(Duration::from_secs(3600)).await.unwrap();
    unit.commit().await.unwrap();
    let full = db.sql.backlog().await.unwrap();
    assert_eq!((full.waiting, full.scheduled, full.parked), (3, 1, 0));
    assert!(
        full.oldest.is_some_and(|age| age < Duration::from_secs(60)),
        "{full:?}"
    );
    bus.shutdown().await.unwrap();
}

async fn old_idempotency_keys_are_forgotten<DB: TestDatabase>() {
    let db = DB::open().await;
    let store = db.sql.idempotency();
    for (key, lease) in [
        ("short", Duration::ZERO),
        ("long", Duration::from_secs(3600)),
    ] {
        store.begin(key, Uuid::nil(), lease).await.unwrap();
    }
    eventually("one is forgotten", async || {
        db.sql.prune().await.unwrap() == 1
    })
    .await;
    assert_eq!(db.rows("idempotency").await, 1);
}
