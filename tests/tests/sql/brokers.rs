//! The outbox and the inbox over RabbitMQ.

use std::collections::BTreeSet;

use bus_core::{Endpoint, Message};
use bus_sql::sqlx::{Postgres, Sqlite};
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{Broker, RabbitMqTestBroker, Recorder, Setup, TestBroker, eventually, numbers};
use serde::{Deserialize, Serialize};

use crate::databases::{Placing, TestDatabase, on_each_database};

on_each_database! {
    what_was_committed_reaches_the_broker_once,
    a_message_without_a_queue_is_parked_and_others_go_on,
}

async fn broker() -> Box<dyn TestBroker> {
    Box::new(RabbitMqTestBroker::at(Broker::shared().await.url()).await)
}

async fn what_was_committed_reaches_the_broker_once<DB: TestDatabase>() {
    const COUNT: u32 = 500;
    let (broker, db) = (broker().await, DB::open().await);
    let (placed, ordered) = (Recorder::new(), Recorder::<Ordered>::new());
    let sales = Endpoint::new(broker.name("sales")).concurrency(8);
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(sales.consumer(db.sql.consumer(Placing(placed.clone()))))
        .endpoint(Endpoint::new(broker.name("audit")).consumer(ordered.clone()))
        .start()
        .await
        .unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    for number in 0..COUNT {
        unit.publish(&Place { number }).await.unwrap();
    }
    unit.commit().await.unwrap();
    assert_eq!(
        numbers(&ordered.take(COUNT as usize).await),
        (0..COUNT).collect::<Vec<_>>()
    );
    assert_eq!(db.effects().await.len(), COUNT as usize);
    bus.shutdown().await.unwrap();
    assert_eq!(db.rows("outbox").await, 0);
}

async fn a_message_without_a_queue_is_parked_and_others_go_on<DB: TestDatabase>() {
    let (broker, db) = (broker().await, DB::open().await);
    let ordered = Recorder::<Ordered>::new();
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit)
        .start()
        .await
        .unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    unit.publish(&Ordered { number: 1 }).await.unwrap();
    let nowhere = format!("exchange:{}", broker.name("nowhere"));
    unit.send_to(nowhere.as_str(), &Place { number: 2 })
        .await
        .unwrap();
    unit.publish(&Ordered { number: 3 }).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(numbers(&ordered.take(2).await), [1, 3]);
    eventually("it is parked", async || db.rows("parked").await == 1).await;
    let parked = db.sql.parked(1).await.unwrap();
    assert_eq!(parked[0].destination, nowhere);
    bus.shutdown().await.unwrap();
}

#[derive(Serialize, Deserialize, Message)]
#[message("Tests:Blob")]
struct Blob {
    text: String,
}

/// A backlog with a message that this broker refuses in the middle.
async fn oversized<DB: TestDatabase>(broker: &Broker) {
    let broker: Box<dyn TestBroker> = Box::new(RabbitMqTestBroker::at(broker.url()).await);
    let db = DB::open().await;
    let ordered = Recorder::<Ordered>::new();
    let audit = Endpoint::new(broker.name("audit")).consumer(ordered.clone());
    let bus = broker.bus().background(db.sql.relay()).endpoint(audit);
    let bus = bus.start().await.unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    for number in 0..100 {
        if number == 50 {
            let text = "x".repeat(200_000);
            unit.publish(&Blob { text }).await.unwrap();
        }
        unit.publish(&Ordered { number }).await.unwrap();
    }
    unit.commit().await.unwrap();
    // Those that were on their way with it may come twice.
    let mut arrived = BTreeSet::new();
    while arrived.len() < 100 {
        arrived.insert(ordered.next().await.message().number);
    }
    eventually("it is parked", async || db.rows("parked").await == 1).await;
    let parked = db.sql.parked(1).await.unwrap();
    assert!(parked[0].destination.contains("Blob"), "{parked:?}");
    eventually("nothing waits", async || db.rows("outbox").await == 0).await;
    bus.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_for_the_broker_is_parked_and_others_go_on() {
    let setup = Setup {
        config: "max_message_size = 100000\n".to_owned(),
        ..Setup::default()
    };
    let broker = Broker::configured(&setup).await;
    oversized::<Postgres>(&broker).await;
    oversized::<Sqlite>(&broker).await;
}
