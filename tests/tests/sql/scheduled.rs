//! Times of a message in the outbox: due later, expired, or with a deadline.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus_core::error::SendErrorKind;
use bus_core::transport::{Capabilities, Capability, ScheduleToken};
use bus_core::{ConsumeContext, ConsumeResult, Endpoint};
use bus_sql::{Tx, TxConsumer};
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, Rig, TestBroker, numbers};

use crate::databases::{TestDatabase, on_each_database};
use crate::relaying::{audit, received};

on_each_database! {
    a_scheduled_message_waits_in_the_table,
    a_consumer_schedules_over_a_transport_that_cannot_delay,
    a_scheduled_message_can_be_cancelled,
    an_expired_message_does_not_leave,
    a_deadline_of_the_sender_ends_with_its_call,
}

async fn a_scheduled_message_waits_in_the_table<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    let begun = std::time::Instant::now();
    let later = unit.publish(&Ordered { number: 2 });
    later.deliver_in(Duration::from_millis(1500)).await.unwrap();
    unit.publish(&Ordered { number: 1 }).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(db.rows("scheduled").await, 1);
    assert_eq!(received(&ordered.take(2).await), [1, 2]);
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    bus.shutdown().await.unwrap();
    assert_eq!(
        (db.rows("scheduled").await, db.rows("outbox").await),
        (0, 0)
    );
}

/// A transport that claims as little as it may.
pub(crate) struct Plain;

#[async_trait]
impl Rig for Plain {
    fn capabilities(&self, _: Capabilities) -> Capabilities {
        Capabilities::of(&[Capability::MessageTtl])
    }
}

/// Publishes an event for later, under a token.
struct Later;

impl<DB: TestDatabase> TxConsumer<Place, DB> for Later {
    async fn consume(&self, ctx: ConsumeContext<Place>, _: &mut Tx<DB>) -> ConsumeResult {
        let event = Ordered {
            number: ctx.message().number,
        };
        let event = ctx.publish(&event).deliver_in(Duration::from_millis(300));
        Ok(event.schedule_token(ScheduleToken::new()).await?)
    }
}

async fn a_consumer_schedules_over_a_transport_that_cannot_delay<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let sales = Endpoint::new(broker.name("sales")).consumer(db.sql.consumer(Later));
    let bus = broker.rigged(&Arc::new(Plain)).background(db.sql.relay());
    let bus = bus
        .endpoint(sales)
        .endpoint(audit(broker, &ordered))
        .start()
        .await
        .unwrap();
    let refused = bus
        .publish(&Ordered { number: 1 })
        .deliver_in(Duration::from_secs(1))
        .await;
    assert_eq!(
        refused.unwrap_err().kind(),
        SendErrorKind::Unsupported,
        "without the table"
    );
    let begun = std::time::Instant::now();
    bus.publish(&Place { number: 2 }).await.unwrap();
    assert_eq!(received(&[ordered.next().await]), [2]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    bus.shutdown().await.unwrap();
}

async fn a_scheduled_message_can_be_cancelled<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .start()
        .await
        .unwrap();
    let token = ScheduleToken::new();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    let later = unit
        .publish(&Ordered { number: 2 })
        .deliver_in(Duration::from_secs(3600));
    later.schedule_token(token).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(db.sql.backlog().await.unwrap().scheduled, 1);
    assert!(db.sql.cancel(token).await.unwrap());
    assert!(!db.sql.cancel(token).await.unwrap(), "it is gone");
    assert_eq!(db.rows("scheduled").await, 0);
    bus.shutdown().await.unwrap();
}

async fn an_expired_message_does_not_leave<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let writer = broker.bus().start().await.unwrap();
    let unit = db.sql.begin(&writer.sender()).await.unwrap();
    unit.publish(&Ordered { number: 1 })
        .ttl(Duration::from_millis(1))
        .await
        .unwrap();
    unit.publish(&Ordered { number: LAST }).await.unwrap();
    unit.commit().await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit(broker, &ordered));
    let bus = bus.start().await.unwrap();
    assert_eq!(numbers(&ordered.until_last().await), [0_u32; 0]);
    bus.shutdown().await.unwrap();
    assert_eq!(db.rows("outbox").await, 0);
    writer.shutdown().await.unwrap();
}

async fn a_deadline_of_the_sender_ends_with_its_call<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let bus = broker.bus().background(db.sql.relay());
    let bus = bus.endpoint(audit(broker, &ordered)).start().await.unwrap();
    let unit = db.sql.begin(&bus.sender()).await.unwrap();
    let brief = unit.publish(&Ordered { number: 1 });
    brief.deadline(Duration::from_nanos(1)).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(received(&[ordered.next().await]), [1]);
    bus.shutdown().await.unwrap();
}
