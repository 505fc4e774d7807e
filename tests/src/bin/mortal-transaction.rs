//! A service that kills itself around a transaction: `mortal-transaction QUEUE POINT DATABASE`, on `AMQP_URL`.
//!
//! Writes the number of each message into the table `effect`, and sends it to `QUEUE-audit` by the outbox. DATABASE is
//! the URL of a PostgreSQL or the file of an SQLite. Dies at POINT: `working` (in the transaction), `committed`
//! (before the relay has sent the message), `sent` (confirmed, and its row not deleted), `done` (before the message is
//! acknowledged) or `never`.

use std::process::{Command, exit};
use std::sync::Arc;

use bus_core::observe::{Observer, PostSend, PreSend};
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Next, Policy, middleware, queue};
use bus_rabbitmq::RabbitMq;
use bus_sql::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use bus_sql::sqlx::{self, PgPool, Postgres, Sqlite, SqlitePool};
use bus_sql::{Backend, Sql, Tx, TxConsumer};
use bus_tests::contracts::{Ordered, Place};

const EFFECT: &str = "INSERT INTO effect (number) VALUES ($1)";

/// The service, and the point at which it dies.
#[derive(Clone, Debug)]
struct Mortal {
    queue: Arc<str>,
    point: Arc<str>,
}

impl Mortal {
    /// Kills the process if it has come to the point.
    fn die_at(&self, here: &str) {
        if *self.point == *here {
            let _ = Command::new("sh")
                .args(["-c", "kill -s KILL $PPID"])
                .status();
            // Not reached; a life that does not end so fails the test.
            exit(0);
        }
    }

    async fn audit(&self, ctx: &ConsumeContext<Place>) -> ConsumeResult {
        let number = ctx.message().number;
        let audit = queue(format!("{}-audit", self.queue));
        ctx.send_to(audit, &Ordered { number }).await?;
        self.die_at("working");
        Ok(())
    }
}

impl Observer for Mortal {
    fn pre_send(&self, _: &PreSend<'_>) {
        self.die_at("committed");
    }

    fn post_send(&self, _: &PostSend<'_>) {
        self.die_at("sent");
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

async fn live<DB: Backend>(mortal: Mortal, sql: Sql<DB>) -> Result<(), Box<dyn std::error::Error>>
where
    Mortal: TxConsumer<Place, DB>,
{
    let done = mortal.clone();
    let around = middleware::from_fn(move |ctx: ConsumeContext, next: Next| {
        let done = done.clone();
        async move {
            next.run(ctx).await?;
            done.die_at("done");
            Ok(())
        }
    });
    let endpoint = Endpoint::new(&*mortal.queue)
        .concurrency(1)
        .without_subscriptions()
        .policy(Policy::new().middleware(around))
        .consumer(sql.consumer(mortal.clone()));
    let _running = Bus::builder(RabbitMq::new(std::env::var("AMQP_URL")?))
        .observe(mortal)
        .background(sql.relay())
        .endpoint(endpoint)
        .start()
        .await?;
    // Until it is killed.
    std::future::pending().await
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [queue, point, database] = &arguments[..] else {
        return Err("usage: mortal-transaction QUEUE POINT DATABASE".into());
    };
    let mortal = Mortal {
        queue: queue.as_str().into(),
        point: point.as_str().into(),
    };
    if database.starts_with("postgres") {
        return live(mortal, Sql::postgres(PgPool::connect(database).await?)).await;
    }
    let file = SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal);
    live(mortal, Sql::sqlite(SqlitePool::connect_with(file).await?)).await
}
