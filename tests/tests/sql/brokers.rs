//! The outbox and the inbox over RabbitMQ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Message, Next, Policy, middleware};
use bus_sql::sqlx::{Postgres, Sqlite};
use bus_sql::{Sql, Tx, TxConsumer};
use bus_tests::contracts::{LAST, Ordered, Place};
use bus_tests::mortal::{Audit, ordering_key};
use bus_tests::{Broker, RabbitMqTestBroker, Recorder, Setup, TestBroker, eventually, numbers};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::databases::{Placing, TestDatabase, on_each_database};

on_each_database! {
    what_was_committed_reaches_the_broker_once,
    a_message_without_a_queue_is_parked_and_others_go_on,
    poison_in_the_middle_of_a_backlog_is_parked_and_the_rest_arrives_in_order,
    of_eight_duplicates_at_once_at_two_services_one_is_handled,
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

/// One row whose destination is not there, and one that was edited by hand.
async fn poison_in_the_middle_of_a_backlog_is_parked_and_the_rest_arrives_in_order<
    DB: TestDatabase,
>() {
    const COUNT: u32 = 1000;
    let (broker, db) = (broker().await, DB::open().await);
    let (audit, queue) = (Audit::new().await, broker.name("audit"));
    let writer = broker.bus().start().await.unwrap();
    let unit = db.sql.begin(&writer.sender()).await.unwrap();
    for number in 0..COUNT {
        let to = match number {
            500 => format!("exchange:{}", broker.name("nowhere")),
            _ => format!("queue:{queue}"),
        };
        let event = unit.send_to(to.as_str(), &Ordered { number });
        event.ordering_key(ordering_key(number)).await.unwrap();
    }
    unit.commit().await.unwrap();
    let edit = "UPDATE bus_outbox SET metadata = '{' WHERE id = \
                (SELECT id FROM bus_outbox ORDER BY id LIMIT 1 OFFSET 600)";
    DB::run(db.sql.pool(), edit).await.unwrap();
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(audit.endpoint(&queue))
        .start()
        .await
        .unwrap();
    let rest: Vec<_> = (0..COUNT).filter(|n| ![500, 600].contains(n)).collect();
    audit.takes(rest.iter().copied()).await;
    eventually("both are parked", async || db.rows("parked").await == 2).await;
    let arrived: Vec<_> = audit.arrivals().iter().map(|one| one.number).collect();
    for key in 0..3 {
        let of_key = |numbers: &[u32]| -> Vec<u32> {
            let of_key = numbers.iter().filter(|number| *number % 3 == key);
            of_key.copied().collect()
        };
        assert_eq!(of_key(&arrived), of_key(&rest), "each once, in order");
    }
    bus.shutdown().await.unwrap();
    writer.shutdown().await.unwrap();
    assert_eq!(db.rows("outbox").await, 0);
}

const COPIES: usize = 8;

/// Holds its transaction open until all copies have been received.
struct Racing(Arc<AtomicUsize>);

impl<DB: TestDatabase> TxConsumer<Place, DB> for Racing {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<DB>) -> ConsumeResult {
        let number = ctx.message().number;
        DB::effect(tx.conn(), &number.to_string()).await?;
        ctx.publish(&Ordered { number }).await?;
        eventually("all copies are there at once", async || {
            self.0.load(Ordering::SeqCst) >= COPIES
        })
        .await;
        Ok(())
    }
}

/// One of two processes that take four copies at once each. A copy is counted before the inbox sees
/// it.
async fn racing<DB: TestDatabase>(
    broker: &dyn TestBroker,
    sql: &Sql<DB>,
    received: &Arc<AtomicUsize>,
) -> Bus {
    let count = Arc::clone(received);
    let counted = middleware::from_fn(move |ctx: ConsumeContext, next: Next| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { next.run(ctx).await }
    });
    let sales = Endpoint::new(broker.name("sales"))
        .policy(Policy::new().prefetch(4).middleware(counted))
        .concurrency(4)
        .consumer(sql.consumer(Racing(Arc::clone(received))));
    let bus = broker.bus().background(sql.relay()).endpoint(sales);
    bus.start().await.unwrap()
}

async fn of_eight_duplicates_at_once_at_two_services_one_is_handled<DB: TestDatabase>() {
    let (broker, db) = (broker().await, DB::open().await);
    let (received, ordered) = (Arc::default(), Recorder::<Ordered>::new());
    let audit = Endpoint::new(broker.name("audit")).concurrency(1);
    let listener = broker.bus().endpoint(audit.consumer(ordered.clone()));
    let listener = listener.start().await.unwrap();
    let one = racing(&*broker, &db.sql, &received).await;
    let two = racing(&*broker, &DB::again(&db).await, &received).await;
    let id = Uuid::now_v7();
    for _ in 0..COPIES {
        let copy = listener.publish(&Place { number: 7 }).message_id(id);
        copy.await.unwrap();
    }
    assert_eq!(numbers(&[ordered.next().await]), [7]);
    broker.until_depth(&broker.name("sales"), 0).await;
    // What is under way ends with its service.
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
    listener.publish(&Ordered { number: LAST }).await.unwrap();
    assert_eq!(numbers(&ordered.until_last().await), [0_u32; 0]);
    assert_eq!(db.committed().await, [7]);
    listener.shutdown().await.unwrap();
}
