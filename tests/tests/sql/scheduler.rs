//! The scheduler of a bus, and the endpoint that is one for other services.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus_core::error::SendErrorKind;
use bus_core::send::MassTransitScheduler;
use bus_core::transport::ScheduleToken;
use bus_core::{Bus, Endpoint, Message};
use bus_tests::contracts::{Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, eventually};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::databases::{Fixture, TestDatabase, on_each_database};
use crate::relaying::{audit, received};
use crate::scheduled::Plain;

on_each_database! {
    what_a_bus_schedules_waits_in_the_table,
    what_a_consumer_without_a_transaction_schedules_waits_in_the_table,
    what_is_due_while_no_process_runs_is_sent_later,
    a_database_that_is_away_keeps_nothing,
    a_service_schedules_for_others,
    a_second_command_with_a_token_replaces_the_first,
    a_cancelled_command_sends_nothing,
    a_destination_that_cannot_be_reached_is_set_aside,
}

const SOON: Duration = Duration::from_millis(300);
const FAR: Duration = Duration::from_secs(3600);

async fn what_a_bus_schedules_waits_in_the_table<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let bus = broker.rigged(&Arc::new(Plain)).background(db.sql.relay());
    let bus = bus.scheduler(db.sql.scheduler());
    let bus = bus.endpoint(audit(broker, &ordered)).start().await.unwrap();
    let (begun, token) = (Instant::now(), ScheduleToken::new());
    let far = bus.publish(&Ordered { number: 3 }).deliver_in(FAR);
    far.schedule_token(token).await.unwrap();
    bus.publish(&Ordered { number: 2 })
        .deliver_in(SOON)
        .await
        .unwrap();
    bus.publish(&Ordered { number: 1 }).await.unwrap();
    assert_eq!(received(&ordered.take(2).await), [1, 2]);
    assert!(begun.elapsed() >= SOON);
    assert_eq!(db.rows("scheduled").await, 1);
    assert!(bus.cancel(token).await.unwrap());
    assert!(!bus.cancel(token).await.unwrap(), "it is gone");
    assert_eq!(db.rows("scheduled").await, 0);
    bus.shutdown().await.unwrap();
}

async fn what_a_consumer_without_a_transaction_schedules_waits_in_the_table<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let ordered = Recorder::new();
    let places = Recorder::<Place>::new();
    let reminding = places.then(|ctx| async move {
        let reminder = Ordered {
            number: ctx.message().number,
        };
        ctx.publish(&reminder).deliver_in(SOON).await?;
        Ok(())
    });
    let bus = broker.rigged(&Arc::new(Plain)).background(db.sql.relay());
    let bus = bus
        .scheduler(db.sql.scheduler())
        .endpoint(Endpoint::new(broker.name("sales")).consumer(reminding))
        .endpoint(audit(broker, &ordered))
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    bus.publish(&Place { number: 7 }).await.unwrap();
    assert_eq!(received(&[ordered.next().await]), [7]);
    assert!(begun.elapsed() >= SOON);
    bus.shutdown().await.unwrap();
}

async fn what_is_due_while_no_process_runs_is_sent_later<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let before = broker.bus().scheduler(db.sql.scheduler());
    let before = before.start().await.unwrap();
    let later = before.publish(&Ordered { number: 4 }).deliver_in(SOON);
    later.await.unwrap();
    before.shutdown().await.unwrap();
    let is_due = if DB::NAME == "SQLite" {
        "due_at <= CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
    } else {
        "due_at <= clock_timestamp()"
    };
    let is_due = format!("SELECT count(*) FROM bus_scheduled WHERE {is_due}");
    eventually("it is due", async || {
        DB::number(db.sql.pool(), &is_due).await == 1
    })
    .await;
    let ordered = Recorder::new();
    let after = broker.bus().background(db.sql.relay());
    let after = after
        .endpoint(audit(broker, &ordered))
        .start()
        .await
        .unwrap();
    assert_eq!(received(&[ordered.next().await]), [4]);
    after.shutdown().await.unwrap();
    assert_eq!(db.rows("scheduled").await, 0);
    assert_eq!(ordered.calls(), 1);
}

async fn a_database_that_is_away_keeps_nothing<DB: TestDatabase>() {
    let (broker, db) = (InMemoryTestBroker::new(), DB::open().await);
    let broker: &dyn TestBroker = &broker;
    let bus = broker.bus().scheduler(db.sql.scheduler());
    let bus = bus.start().await.unwrap();
    db.sql.migrate().await.unwrap();
    db.sql.pool().close().await;
    let later = bus.publish(&Ordered { number: 1 }).deliver_in(FAR);
    let error = later.await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("database"), "{error}");
    let cancelled = bus.cancel(ScheduleToken::new()).await;
    assert_eq!(cancelled.unwrap_err().kind(), SendErrorKind::Unreachable);
    bus.publish(&Ordered { number: 2 }).await.unwrap();
    bus.shutdown().await.unwrap();
}

/// A service with a scheduler endpoint, and a client of it.
struct Scene<DB: TestDatabase> {
    broker: InMemoryTestBroker,
    db: Fixture<DB>,
    ordered: Recorder<Ordered>,
    queue: String,
    service: Bus,
    client: Bus,
}

impl<DB: TestDatabase> Scene<DB> {
    async fn new() -> Self {
        let (own, db) = (InMemoryTestBroker::new(), DB::open().await);
        let broker: &dyn TestBroker = &own;
        let (ordered, queue) = (Recorder::new(), broker.name("scheduler"));
        let endpoint = db.sql.scheduler_endpoint(&queue);
        let service = broker.bus().background(db.sql.relay()).endpoint(endpoint);
        let service = service
            .endpoint(audit(broker, &ordered))
            .start()
            .await
            .unwrap();
        let scheduler = MassTransitScheduler::new(queue.as_str());
        let client = broker.rigged(&Arc::new(Plain)).scheduler(scheduler);
        let client = client.start().await.unwrap();
        Self {
            broker: own,
            db,
            ordered,
            queue,
            service,
            client,
        }
    }

    async fn until_scheduled(&self, count: i64) {
        let db = &self.db;
        eventually("it is kept", async || db.rows("scheduled").await == count).await;
    }

    async fn stop(self) {
        self.client.shutdown().await.unwrap();
        self.service.shutdown().await.unwrap();
    }
}

async fn a_service_schedules_for_others<DB: TestDatabase>() {
    let scene = Scene::<DB>::new().await;
    let begun = Instant::now();
    let message = Ordered { number: 5 };
    let later = scene.client.publish(&message).deliver_in(SOON);
    let id = Uuid::new_v4();
    later
        .message_id(id)
        .correlation_id(id)
        .header("Tenant", "north")
        .await
        .unwrap();
    let ctx = scene.ordered.next().await;
    assert!(begun.elapsed() >= SOON);
    assert_eq!(ctx.message(), &message);
    assert_eq!(
        (ctx.message_id(), ctx.correlation_id()),
        (Some(id), Some(id))
    );
    assert_eq!(ctx.envelope().headers.text("Tenant"), Some("north"));
    let token = ctx.envelope().headers.text("MT-Scheduling-TokenId");
    assert!(token.is_some_and(|token| token.parse::<ScheduleToken>().is_ok()));
    scene.stop().await;
}

async fn a_second_command_with_a_token_replaces_the_first<DB: TestDatabase>() {
    let scene = Scene::<DB>::new().await;
    let token = ScheduleToken::new();
    for (number, wait) in [(1, FAR), (2, SOON)] {
        let later = scene.client.publish(&Ordered { number }).deliver_in(wait);
        later.schedule_token(token).await.unwrap();
        scene.until_scheduled(1).await;
    }
    assert_eq!(received(&[scene.ordered.next().await]), [2]);
    scene.until_scheduled(0).await;
    scene.stop().await;
}

async fn a_cancelled_command_sends_nothing<DB: TestDatabase>() {
    let scene = Scene::<DB>::new().await;
    let token = ScheduleToken::new();
    let later = scene.client.publish(&Ordered { number: 1 }).deliver_in(FAR);
    later.schedule_token(token).await.unwrap();
    scene.until_scheduled(1).await;
    assert!(scene.client.cancel(token).await.unwrap());
    scene.until_scheduled(0).await;
    assert_eq!(scene.ordered.calls(), 0);
    scene.stop().await;
}

/// The command of a peer with an address that cannot be read.
#[derive(Debug, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("MassTransit.Scheduling:ScheduleMessage")]
struct ScheduleElsewhere {
    correlation_id: Uuid,
    scheduled_time: String,
    payload_type: [String; 1],
    destination: String,
    payload: Ordered,
}

async fn a_destination_that_cannot_be_reached_is_set_aside<DB: TestDatabase>() {
    let scene = Scene::<DB>::new().await;
    let broker: &dyn TestBroker = &scene.broker;
    let command = ScheduleElsewhere {
        correlation_id: Uuid::new_v4(),
        scheduled_time: "2026-11-23T17:29:45Z".to_owned(),
        payload_type: ["urn:message:Acme.Orders:OrderShipped".to_owned()],
        destination: "sb://elsewhere/no such place".to_owned(),
        payload: Ordered { number: 1 },
    };
    let queue = bus_core::queue(scene.queue.clone());
    scene.service.send_to(queue, &command).await.unwrap();
    broker
        .until_depth(&format!("{}_error", scene.queue), 1)
        .await;
    assert_eq!(scene.db.rows("scheduled").await, 0);
    scene.stop().await;
}
