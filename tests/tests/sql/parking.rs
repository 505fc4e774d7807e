//! Rows that can never be sent: parked, reported, and sent again by an operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bus_core::transport::{Outgoing, TransportError, TransportErrorKind};
use bus_tests::contracts::{Cancelled, LAST, Ordered};
use bus_tests::{InMemoryTestBroker, Recorder, Rig, TestBroker, eventually, numbers};

use crate::databases::{TestDatabase, on_each_database};
use crate::relaying::{audit, received, write};

on_each_database! {
    a_message_that_is_refused_is_parked_and_others_go_on,
    a_row_that_cannot_be_read_is_parked,
    what_was_parked_can_be_sent_again,
}

/// Refuses what is published to an exchange, for good.
struct Refusing {
    exchange: String,
    refused: AtomicUsize,
}

#[async_trait]
impl Rig for Refusing {
    async fn send(&self, outgoing: &Outgoing) -> Result<(), TransportError> {
        if outgoing.target.name().contains(&self.exchange) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(TransportError::new(
                TransportErrorKind::TooLarge,
                "too large",
            ));
        }
        Ok(())
    }
}

async fn a_message_that_is_refused_is_parked_and_others_go_on<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let rig = Arc::new(Refusing {
        exchange: "Cancelled".to_owned(),
        refused: AtomicUsize::new(0),
    });
    let bus = broker
        .rigged(&rig)
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    for number in 0..10 {
        unit.publish(&Ordered { number }).await.unwrap();
        if number == 5 {
            unit.publish(&Cancelled { number }).await.unwrap();
        }
    }
    unit.commit().await.unwrap();
    assert_eq!(
        numbers(&ordered.take(10).await),
        (0..10).collect::<Vec<_>>()
    );
    eventually("the message is parked", async || {
        db.rows("parked").await == 1
    })
    .await;
    assert_eq!(
        rig.refused.load(Ordering::SeqCst),
        3,
        "it was tried three times"
    );
    let parked = db.sql.parked(10).await.unwrap();
    assert!(parked[0].reason.contains("too large"), "{parked:?}");
    assert!(parked[0].destination.contains("Cancelled"), "{parked:?}");
    bus.shutdown().await.unwrap();
    assert_eq!(db.rows("outbox").await, 0);
}

async fn a_row_that_cannot_be_read_is_parked<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let writer = broker.bus().start().await.unwrap();
    write(&db.sql, &writer, 0..3).await;
    // By hand: a metadata that is none, and one of a version that is to come.
    for (offset, metadata) in [(1, "{"), (2, r#"{"version":99}"#)] {
        let edit = format!(
            "UPDATE bus_outbox SET metadata = '{metadata}' WHERE id = \
             (SELECT id FROM bus_outbox ORDER BY id LIMIT 1 OFFSET {offset})"
        );
        DB::run(db.sql.pool(), &edit).await.unwrap();
    }
    write(&db.sql, &writer, [LAST]).await;
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    assert_eq!(numbers(&ordered.until_last().await), [0]);
    eventually("both are parked", async || db.rows("parked").await == 2).await;
    bus.shutdown().await.unwrap();
    writer.shutdown().await.unwrap();
}

async fn what_was_parked_can_be_sent_again<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let rig = Arc::new(Refusing {
        exchange: "Ordered".to_owned(),
        refused: AtomicUsize::new(0),
    });
    let bus = broker
        .rigged(&rig)
        .background(db.sql.relay())
        .start()
        .await
        .unwrap();
    write(&db.sql, &bus, 1..=3).await;
    eventually("all are parked", async || db.rows("parked").await == 3).await;
    bus.shutdown().await.unwrap();
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    let parked = db.sql.parked(10).await.unwrap();
    assert_eq!(db.sql.discard(&[parked[1].id]).await.unwrap(), 1);
    assert_eq!(
        db.sql.unpark(&[parked[0].id, parked[2].id]).await.unwrap(),
        2
    );
    assert_eq!(received(&ordered.take(2).await), [1, 3]);
    assert_eq!(db.sql.backlog().await.unwrap().parked, 0);
    bus.shutdown().await.unwrap();
}
