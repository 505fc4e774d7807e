//! `cargo run -p samples --example transaction`
//! Stores and publishes in one transaction: a command that comes twice has one effect.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use bus_sql::sqlx::{self, Sqlite, sqlite::SqlitePoolOptions};
use bus_sql::{Sql, Tx};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {}

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceCreated")]
struct InvoiceCreated {}

async fn create(ctx: ConsumeContext<CreateInvoice>, tx: &mut Tx<Sqlite>) -> ConsumeResult {
    let insert = sqlx::query("INSERT INTO invoice VALUES ('A-7')");
    insert.execute(tx.conn()).await?;
    ctx.publish(&InvoiceCreated {}).await?; // a row of the same transaction
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = SqlitePoolOptions::new()
        .max_connections(1) // in memory, it is the database
        .idle_timeout(None)
        .max_lifetime(None);
    let pool = options.connect("sqlite::memory:").await?;
    let table = sqlx::query("CREATE TABLE invoice (number TEXT)");
    table.execute(&pool).await?;
    let sql = Sql::sqlite(pool.clone());

    let invoicing = Endpoint::new("invoicing").consumer(sql.consumer(create));
    let harness = Harness::start(|bus| bus.background(sql.relay()).endpoint(invoicing)).await?;
    let harness = harness.deliver_twice();
    let command = CreateInvoice {};
    harness.send_to("queue:invoicing", &command).await?;
    harness.quiescent().await; // both deliveries are handled
    harness.published::<InvoiceCreated>().wait().await?; // the relay has sent it
    let count = sqlx::query_scalar("SELECT count(*) FROM invoice");
    let invoices: i64 = count.fetch_one(&pool).await?;
    assert_eq!(invoices, 1);
    println!("2 deliveries, 1 invoice");
    harness.shutdown().await?;
    Ok(())
}
