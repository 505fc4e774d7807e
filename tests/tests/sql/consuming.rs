//! Consumers in the transaction of their delivery.

use std::time::Duration;

use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Policy, Retry};
use bus_inmemory::Harness;
use bus_sql::sqlx::Sqlite;
use bus_sql::sqlx::sqlite::SqlitePoolOptions;
use bus_sql::{Sql, Tx, TxConsumer};
use bus_tests::contracts::{Answered, Ask, LAST, Numbered, Ordered, Place};
use bus_tests::{InMemoryTestBroker, Recorder, TestBroker, numbers, with};
use uuid::Uuid;

use crate::databases::{Placing, TestDatabase, on_each_database};

fn broker() -> Box<dyn TestBroker> {
    Box::new(InMemoryTestBroker::new())
}

on_each_database! {
    the_effect_and_the_event_are_committed_together,
    a_failed_attempt_leaves_nothing,
    a_message_that_comes_again_is_not_handled_again,
    of_duplicates_at_once_one_is_handled,
    a_request_that_comes_again_gets_its_reply_again,
    an_attempt_that_takes_too_long_is_rolled_back,
    a_business_key_recognizes_two_sends_of_one_thing,
    a_key_with_other_content_goes_to_the_error_queue,
    a_consumer_without_sql_has_the_inbox_and_the_outbox,
    the_consumers_of_one_message_are_handled_on_each_endpoint,
}

async fn the_effect_and_the_event_are_committed_together<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let (placed, ordered) = (Recorder::new(), Recorder::<Ordered>::new());
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(
            Endpoint::new(broker.name("sales")).consumer(db.sql.consumer(Placing(placed.clone()))),
        )
        .endpoint(Endpoint::new(broker.name("audit")).consumer(ordered.clone()))
        .start()
        .await
        .unwrap();
    for number in 1..=20 {
        bus.publish(&Place { number }).await.unwrap();
    }
    assert_eq!(
        numbers(&ordered.take(20).await),
        (1..=20).collect::<Vec<_>>()
    );
    assert_eq!(db.effects().await.len(), 20);
    assert_eq!(db.rows("inbox").await, 20);
    bus.shutdown().await.unwrap();
    assert_eq!(db.rows("outbox").await, 0, "a confirmed message is deleted");
}

async fn a_failed_attempt_leaves_nothing<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let placed = Recorder::deciding(|ctx: &ConsumeContext<Place>| match ctx.attempt() {
        1 => Err("broken".into()),
        2 => panic!("broken"),
        _ => Ok(()),
    });
    let ordered = Recorder::<Ordered>::new();
    let sales = Endpoint::new(broker.name("sales")).retry(Retry::interval(3, Duration::ZERO));
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(
            sales
                .concurrency(1)
                .consumer(db.sql.consumer(Placing(placed.clone()))),
        )
        .endpoint(
            Endpoint::new(broker.name("audit"))
                .concurrency(1)
                .consumer(ordered.clone()),
        )
        .start()
        .await
        .unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    placed.take(2).await;
    bus.publish(&Place { number: LAST }).await.unwrap();
    // A panic is not retried: the first message ends in the error queue, with nothing done.
    broker
        .until_depth(&format!("{}_error", broker.name("sales")), 2)
        .await;
    assert_eq!(db.effects().await, [""; 0]);
    assert_eq!((db.rows("inbox").await, db.rows("outbox").await), (0, 0));
    bus.shutdown().await.unwrap();
}

async fn a_message_that_comes_again_is_not_handled_again<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let (placed, ordered) = (Recorder::new(), Recorder::<Ordered>::new());
    let sales = Endpoint::new(broker.name("sales")).concurrency(1);
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(sales.consumer(db.sql.consumer(Placing(placed.clone()))))
        .endpoint(
            Endpoint::new(broker.name("audit"))
                .concurrency(1)
                .consumer(ordered.clone()),
        )
        .start()
        .await
        .unwrap();
    let id = Uuid::now_v7();
    for _ in 0..3 {
        bus.publish(&Place { number: 1 })
            .message_id(id)
            .await
            .unwrap();
    }
    bus.publish(&Place { number: LAST }).await.unwrap();
    assert_eq!(numbers(&ordered.until_last().await), [1]);
    assert_eq!(placed.calls(), 2, "the message, and the last one");
    assert_eq!(db.effects().await.len(), 2);
    bus.shutdown().await.unwrap();
}

async fn of_duplicates_at_once_one_is_handled<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
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
    for number in 1..=10 {
        let id = Uuid::now_v7();
        let copies = (0..8).map(|_| bus.publish(&Place { number }).message_id(id).into_future());
        for sent in futures_util::future::join_all(copies).await {
            sent.unwrap();
        }
    }
    assert_eq!(
        numbers(&ordered.take(10).await),
        (1..=10).collect::<Vec<_>>()
    );
    broker.until_depth(&broker.name("sales"), 0).await;
    bus.shutdown().await.unwrap();
    assert_eq!(db.effects().await.len(), 10);
    assert_eq!(ordered.calls(), 10);
}

/// Answers a request, and counts its effects.
struct Answering(Recorder<Ask>);

impl<DB: TestDatabase> TxConsumer<Ask, DB> for Answering {
    async fn consume(&self, ctx: ConsumeContext<Ask>, tx: &mut Tx<DB>) -> ConsumeResult {
        self.0.note(&ctx);
        let number = ctx.message().number;
        DB::effect(tx.conn(), &number.to_string()).await?;
        ctx.respond(&Answered { number: number + 1 })
            .header("Tenant", "north")
            .await?;
        Ok(())
    }
}

async fn a_request_that_comes_again_gets_its_reply_again<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let asked = Recorder::new();
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(
            Endpoint::new(broker.name("sales")).consumer(db.sql.consumer(Answering(asked.clone()))),
        )
        .start()
        .await
        .unwrap();
    let id = Uuid::now_v7();
    for _ in 0..3 {
        let answer: Answered = bus
            .request(&Ask { number: 6 })
            .message_id(id)
            .await
            .unwrap();
        assert_eq!(answer.number, 7);
    }
    assert_eq!((asked.calls(), db.effects().await.len()), (1, 1));
    assert_eq!(
        db.rows("outbox").await,
        0,
        "a reply is no row of the outbox"
    );
    // One without an address has its answer published: it must survive a crash.
    let answered = Recorder::<Answered>::new();
    let listening = Endpoint::new(broker.name("answers")).consumer(answered.clone());
    let other = broker.bus().endpoint(listening).start().await.unwrap();
    bus.publish(&Ask { number: 8 }).await.unwrap();
    assert_eq!(numbers(&[answered.next().await]), [9]);
    other.shutdown().await.unwrap();
    bus.shutdown().await.unwrap();
}

async fn an_attempt_that_takes_too_long_is_rolled_back<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let ordered = Recorder::<Ordered>::new();
    let sales = Endpoint::new(broker.name("sales"))
        .policy(Policy::new().timeout(Duration::from_millis(200)))
        .retry(Retry::interval(2, Duration::ZERO));
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(sales.consumer(db.sql.consumer(Hanging)))
        .endpoint(Endpoint::new(broker.name("audit")).consumer(ordered.clone()))
        .start()
        .await
        .unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    assert_eq!(numbers(&[ordered.next().await]), [1]);
    assert_eq!(db.effects().await, ["1"], "that of the second attempt");
    bus.shutdown().await.unwrap();
}

/// Hangs in its first attempt, after its effect.
struct Hanging;

impl<DB: TestDatabase> TxConsumer<Place, DB> for Hanging {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<DB>) -> ConsumeResult {
        let number = ctx.message().number;
        DB::effect(tx.conn(), &number.to_string()).await?;
        ctx.publish(&Ordered { number }).await?;
        if ctx.attempt() == 1 {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

async fn a_business_key_recognizes_two_sends_of_one_thing<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let placed = Recorder::new();
    let sql = db
        .sql
        .clone()
        .by(|place: &Place| format!("place {}", place.number));
    let sales = Endpoint::new(broker.name("sales")).concurrency(1);
    let bus = broker
        .bus()
        .endpoint(sales.consumer(sql.consumer(Placing(placed.clone()))))
        .start()
        .await
        .unwrap();
    for number in [1, 1, 2, 1, LAST] {
        bus.publish(&Place { number }).await.unwrap();
    }
    assert_eq!(numbers(&placed.until_last().await), [1, 2]);
    bus.shutdown().await.unwrap();
}

async fn a_key_with_other_content_goes_to_the_error_queue<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let placed = Recorder::new();
    let sales = Endpoint::new(broker.name("sales")).concurrency(1);
    let bus = broker
        .bus()
        .endpoint(sales.consumer(db.sql.consumer(Placing(placed.clone()))))
        .start()
        .await
        .unwrap();
    for number in [1, 2] {
        let place = bus
            .publish(&Place { number })
            .header("Idempotency-Key", "order-7");
        place.await.unwrap();
    }
    broker
        .until_depth(&format!("{}_error", broker.name("sales")), 1)
        .await;
    assert_eq!(db.effects().await, ["1"]);
    bus.shutdown().await.unwrap();
}

async fn a_consumer_without_sql_has_the_inbox_and_the_outbox<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let ordered = Recorder::<Ordered>::new();
    let plain = with((), async |(), ctx: ConsumeContext<Place>| {
        let number = ctx.message().number;
        ctx.publish(&Ordered { number }).await?;
        if number == 13 && ctx.attempt() == 1 {
            return Err(ConsumeError::from("broken"));
        }
        Ok(())
    });
    let sales = Endpoint::new(broker.name("sales")).concurrency(1);
    let bus = broker
        .bus()
        .background(db.sql.relay())
        .endpoint(
            sales
                .retry(Retry::interval(1, Duration::ZERO))
                .consumer(db.sql.around(plain)),
        )
        .endpoint(
            Endpoint::new(broker.name("audit"))
                .concurrency(1)
                .consumer(ordered.clone()),
        )
        .start()
        .await
        .unwrap();
    let id = Uuid::now_v7();
    for _ in 0..2 {
        bus.publish(&Place { number: 13 })
            .message_id(id)
            .await
            .unwrap();
    }
    bus.publish(&Place { number: LAST }).await.unwrap();
    assert_eq!(numbers(&ordered.until_last().await), [13]);
    assert_eq!(db.rows("inbox").await, 2);
    bus.shutdown().await.unwrap();
}

async fn the_consumers_of_one_message_are_handled_on_each_endpoint<DB: TestDatabase>() {
    let (broker, db) = (broker(), DB::open().await);
    let (one, other) = (Recorder::new(), Recorder::new());
    let bus = broker
        .bus()
        .endpoint(
            Endpoint::new(broker.name("sales")).consumer(db.sql.consumer(Placing(one.clone()))),
        )
        .endpoint(
            Endpoint::new(broker.name("stock")).consumer(db.sql.consumer(Placing(other.clone()))),
        )
        .start()
        .await
        .unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    assert_eq!(numbers(&[one.next().await, other.next().await]), [1, 1]);
    bus.shutdown().await.unwrap();
    assert_eq!(db.effects().await, ["1", "1"]);
}

async fn paid(ctx: ConsumeContext<Place>, tx: &mut Tx<Sqlite>) -> ConsumeResult {
    Sqlite::effect(tx.conn(), &ctx.message().number().to_string()).await?;
    Ok(())
}

/// A function is a consumer too, and a savepoint is rolled back alone.
#[tokio::test]
async fn a_function_consumes_in_a_transaction() {
    async fn two(ctx: ConsumeContext<Ordered>, tx: &mut Tx<Sqlite>) -> ConsumeResult {
        let mut inner = tx.savepoint().await?;
        Sqlite::effect(&mut inner, "not this").await?;
        inner.rollback().await?;
        Sqlite::effect(tx.conn(), &format!("ordered {}", ctx.message().number)).await?;
        Ok(())
    }
    let (broker, db) = (broker(), Sqlite::open().await);
    let after = Recorder::<Answered>::new();
    let endpoint = Endpoint::new(broker.name("sales")).concurrency(1);
    let endpoint = endpoint
        .consumer(db.sql.consumer(paid))
        .consumer(db.sql.consumer(two));
    let bus = broker
        .start(endpoint.consumer(after.clone()))
        .await
        .unwrap();
    bus.publish(&Place { number: 1 }).await.unwrap();
    bus.publish(&Ordered { number: 2 }).await.unwrap();
    bus.publish(&Answered { number: 3 }).await.unwrap();
    after.next().await;
    bus.shutdown().await.unwrap();
    assert_eq!(db.effects().await, ["1", "ordered 2"]);
}

/// As in the tests of a service: one connection, one process, nothing installed.
#[tokio::test]
async fn the_harness_works_with_sqlite_in_memory() {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect("sqlite::memory:");
    let sql = Sql::sqlite(pool.await.unwrap());
    Sqlite::run(sql.pool(), "CREATE TABLE effect (number TEXT NOT NULL)")
        .await
        .unwrap();
    let harness = Harness::start(|bus| {
        let sales = Endpoint::new("sales").consumer(sql.consumer(Placing(Recorder::new())));
        let audit = Endpoint::new("audit").consumer(Recorder::<Ordered>::new());
        bus.background(sql.relay()).endpoint(sales).endpoint(audit)
    });
    let harness = harness.await.unwrap();
    for number in 1..=10 {
        harness.publish(&Place { number }).await.unwrap();
    }
    for number in 1..=10 {
        let ordered = harness.consumed::<Ordered>();
        ordered
            .wait_for(|event| event.number == number)
            .await
            .unwrap();
    }
    harness.quiescent().await;
    assert_eq!(harness.consumed::<Ordered>().count(), 10);
    assert_eq!(Sqlite::effects(sql.pool()).await.len(), 10);
    harness.shutdown().await.unwrap();
}
