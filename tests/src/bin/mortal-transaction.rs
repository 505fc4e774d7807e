//! A service that ends or stops itself around a transaction: `mortal-transaction QUEUE POINT DATABASE`, on `AMQP_URL`.
//!
//! Writes the number of each message into the table `effect`, and sends it to `QUEUE-audit` by the outbox, which it also
//! relays. DATABASE is the URL of a PostgreSQL or the file of an SQLite. POINT, as a `Point` is written, is `received`
//! (before the inbox knows the message), `working` (in the transaction), `committed` (before the relay hands a message to
//! the broker), `sent` (confirmed, and its row not deleted), `done` (before the message is acknowledged) or `never`.
//! A line of its output is `sends NUMBER`, `well` or `unwell`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bus_core::observe::{Observer, PostSend, PreSend};
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Next, Policy, middleware, queue};
use bus_rabbitmq::RabbitMq;
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use bus_sql::sqlx::{self, PgPool, Postgres, Sqlite, SqlitePool};
use bus_sql::{Backend, Sql, Tx, TxConsumer};
use bus_tests::contracts::{Ordered, Place};
use bus_tests::mortal::{Point, ordering_key};

const EFFECT: &str = "INSERT INTO effect (number) VALUES ($1)";

/// Period between two looks at the health.
const LOOK: Duration = Duration::from_millis(50);

/// The service, and the point at which it ends or stops.
#[derive(Clone, Debug)]
struct Mortal {
    queue: Arc<str>,
    point: Arc<Point>,
}

impl Mortal {
    async fn audit(&self, ctx: &ConsumeContext<Place>) -> ConsumeResult {
        let number = ctx.message().number;
        let audit = queue(format!("{}-audit", self.queue));
        ctx.send_to(audit, &Ordered { number })
            .ordering_key(ordering_key(number))
            .await?;
        self.point.reach("working");
        Ok(())
    }
}

/// Writes a line for the test; one that has ended reads none.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

impl Observer for Mortal {
    fn pre_send(&self, send: &PreSend<'_>) {
        if let Ok(event) = serde_json::from_slice::<Ordered>(&send.envelope.message) {
            say(&format!("sends {}", event.number));
        }
        self.point.reach("committed");
    }

    fn post_send(&self, _: &PostSend<'_>) {
        self.point.reach("sent");
    }
}

impl TxConsumer<Place, Postgres> for Mortal {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<Postgres>) -> ConsumeResult {
        let effect = sqlx::query(EFFECT).bind(ctx.message().number.to_string());
        effect.execute(tx.conn()).await?;
        self.audit(&ctx).await
    }
}

impl TxConsumer<Place, Sqlite> for Mortal {
    async fn consume(&self, ctx: ConsumeContext<Place>, tx: &mut Tx<Sqlite>) -> ConsumeResult {
        let effect = sqlx::query(EFFECT).bind(ctx.message().number.to_string());
        effect.execute(tx.conn()).await?;
        self.audit(&ctx).await
    }
}

/// Consumes in order: one after the other, and none ahead that would come back behind its followers.
fn endpoint<DB: Backend>(mortal: &Mortal, sql: &Sql<DB>) -> Endpoint
where
    Mortal: TxConsumer<Place, DB>,
{
    let point = Arc::clone(&mortal.point);
    let around = middleware::from_fn(move |ctx: ConsumeContext, next: Next| {
        let point = Arc::clone(&point);
        async move {
            point.reach("received");
            next.run(ctx).await?;
            point.reach("done");
            Ok(())
        }
    });
    Endpoint::new(&*mortal.queue)
        .concurrency(1)
        .without_subscriptions()
        .policy(Policy::new().prefetch(1).middleware(around))
        .consumer(sql.consumer(mortal.clone()))
}

async fn live<DB: Backend>(mortal: Mortal, sql: Sql<DB>) -> Result<(), Box<dyn std::error::Error>>
where
    Mortal: TxConsumer<Place, DB>,
{
    let bus = Bus::builder(RabbitMq::new(std::env::var("AMQP_URL")?))
        .background(sql.relay())
        .endpoint(endpoint(&mortal, &sql))
        .observe(mortal)
        .start()
        .await?;
    let mut was_well = false;
    // Until it is killed.
    loop {
        let is_well = bus.health().is_healthy();
        if is_well != was_well {
            say(if is_well { "well" } else { "unwell" });
        }
        was_well = is_well;
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [queue, point, database] = &arguments[..] else {
        return Err("usage: mortal-transaction QUEUE POINT DATABASE".into());
    };
    let mortal = Mortal {
        queue: queue.as_str().into(),
        point: Arc::new(point.parse()?),
    };
    if database.starts_with("postgres") {
        return live(mortal, Sql::postgres(PgPool::connect(database).await?)).await;
    }
    let file = SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal);
    live(mortal, Sql::sqlite(SqlitePool::connect_with(file).await?)).await
}
