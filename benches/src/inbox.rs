//! Consumers in a transaction: inbox row, a row of the application, an event in the outbox.

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Policy};
use bus_rabbitmq::RabbitMq;
use bus_sql::sqlx::{self, Postgres};
use bus_sql::{OutboxRow, Sql, Tx, TxConsumer};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bus::{self, Counter};
use crate::child::Place;
use crate::confirms::Confirms;
use crate::contender::Contender;
use crate::figures::{Figures, Watch};
use crate::load::{Load, QUEUE, Work};
use crate::message::{OrderBilled, OrderPlaced};
use crate::store::{Store, sample};

/// Deliveries that are handled at once.
const AT_ONCE: usize = 16;

/// Connections beside those of the deliveries: three for the relay, one for what is forgotten.
const OTHERS: u32 = 4;

/// The queue of the events.
const BILLED: &str = "billed";

async fn open(place: &Place) -> Sql<Postgres> {
    let connections = u32::try_from(AT_ONCE).expect("few") + OTHERS;
    Postgres::open(&place.database, connections).await
}

/// Declares the queues, fills that of the orders, and the inbox if it is to be full.
pub(crate) async fn prepare(contender: Contender, load: Load, place: &Place, messages: usize) {
    let endpoint = Endpoint::new(BILLED).consumer(drop_event);
    let bus = Bus::builder(RabbitMq::new(&*place.url)).endpoint(endpoint);
    let bus = bus.start().await.expect("the bus starts");
    bus.shutdown().await.expect("stopped");
    bus::declare(&place.url, load).await;
    bus::publish(&place.url, load, load.count(messages)).await;
    if contender == Contender::Bus && load.work == Work::FullInbox {
        remember(&open(place).await, load.known(messages)).await;
    }
}

async fn drop_event(_: ConsumeContext<OrderBilled>) -> ConsumeResult {
    Ok(())
}

/// Makes an inbox that knows so many messages, one half of them for so long that they are to be forgotten.
async fn remember(sql: &Sql<Postgres>, count: usize) {
    let known = "INSERT INTO bus_inbox (endpoint, key, fingerprint, handled_at) \
                 SELECT 'orders', gen_random_uuid()::text, '00000000-0000-0000-0000-000000000000'::uuid, \
                        now() - interval '14 days' * (1 - n::float8 / $1::int8) \
                 FROM generate_series(1, $1::int8) n";
    let count = i64::try_from(count).expect("fewer");
    let made = sqlx::query(known).bind(count).execute(sql.pool()).await;
    made.expect("inserted");
    // What such a table had from its first day.
    for statement in ["VACUUM (FREEZE, ANALYZE) bus_inbox", "CHECKPOINT"] {
        sqlx::query(statement)
            .execute(sql.pool())
            .await
            .expect("done");
    }
}

struct Billing {
    counter: Counter,
}

impl TxConsumer<OrderPlaced, Postgres> for Billing {
    async fn consume(
        &self,
        ctx: ConsumeContext<OrderPlaced>,
        tx: &mut Tx<Postgres>,
    ) -> ConsumeResult {
        let number = ctx.message().number;
        Postgres::own_row(tx.conn(), i64::try_from(number)?).await;
        ctx.publish(&OrderBilled::new(number)).await?;
        self.counter.count();
        Ok(())
    }
}

/// Consumes what is in the queue, until the last event is confirmed. The watch runs from the first message.
pub(crate) async fn consume(place: &Place, load: Load, count: usize) -> Figures {
    let sql = open(place).await;
    let (confirms, counter) = (Confirms::default(), Counter::expecting(count));
    let billing = Billing {
        counter: counter.clone(),
    };
    let prefetch = u16::try_from(AT_ONCE * 2).expect("few");
    let endpoint = Endpoint::new(QUEUE)
        .policy(Policy::new().prefetch(prefetch).concurrency(AT_ONCE))
        .consumer(sql.consumer(billing));
    let bus = Bus::builder(RabbitMq::new(&*place.url))
        .background(sql.relay())
        .endpoint(endpoint)
        .observe(confirms.clone());
    let forgetting = match load.work {
        Work::FullInbox => Some(Forgetting::start(sql).await),
        _ => None,
    };
    let bus = bus.start().await.expect("the bus starts");
    confirms.reach(count).await;
    let figures = counter.watch().stop(count);
    bus.shutdown().await.expect("stopped");
    if let Some(forgetting) = forgetting {
        forgetting.end().await;
    }
    figures
}

/// What is forgotten beside a load: all the time, where the relay would do it each minute.
struct Forgetting {
    sql: Sql<Postgres>,
    /// The age of the oldest message at the start, in seconds.
    oldest: f64,
    task: JoinHandle<()>,
}

impl Forgetting {
    async fn start(sql: Sql<Postgres>) -> Self {
        let oldest = oldest(&sql).await;
        let forgetting = sql.clone();
        let task = tokio::spawn(async move {
            forgetting.prune().await.expect("forgotten");
            eprintln!("everything old was forgotten before the load had ended");
        });
        Self { sql, oldest, task }
    }

    /// Checks that some of it was forgotten.
    async fn end(self) {
        self.task.abort();
        let left = oldest(&self.sql).await;
        assert!(left < self.oldest, "nothing was forgotten beside the load");
    }
}

async fn oldest(sql: &Sql<Postgres>) -> f64 {
    let age = "SELECT extract(epoch FROM now() - min(handled_at))::float8 FROM bus_inbox";
    let age = sqlx::query_scalar(age).fetch_one(sql.pool()).await;
    age.expect("an age")
}

/// The same transactions, so many at once, written by hand.
pub(crate) async fn without_a_bus(place: &Place, count: usize) -> Figures {
    let sql = open(place).await;
    let bus = Bus::builder(RabbitMq::new(&*place.url)).start().await;
    let bus = bus.expect("the bus starts");
    let row = sample(&sql, &bus.sender()).await;
    let watch = Watch::start();
    stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, |number| {
            let number = i64::try_from(number).expect("small");
            let task = tokio::spawn(handle(sql.clone(), number, row.clone()));
            async move { task.await.expect("committed") }
        })
        .await;
    let figures = watch.stop(count);
    bus.shutdown().await.expect("stopped");
    figures
}

async fn handle(sql: Sql<Postgres>, number: i64, row: OutboxRow) {
    let mut tx = Postgres::begin_plain(&sql).await;
    let claim = "INSERT INTO bus_inbox (endpoint, key, fingerprint) VALUES ('orders', $1, $2)";
    let claim = sqlx::query(claim)
        .bind(Uuid::now_v7().to_string())
        .bind(Uuid::nil());
    claim.execute(&mut *tx).await.expect("claimed");
    Postgres::own_row(&mut tx, number).await;
    Postgres::outbox_row(&mut tx, &row).await;
    tx.commit().await.expect("committed");
}
