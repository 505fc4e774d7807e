//! `cargo run -p samples --example idempotency`
//! Handles a command once that arrives twice, by its invoice number.
#![allow(clippy::print_stdout)]

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_core::{ConsumeContext, Endpoint, Idempotency, Message, SendError};
use bus_inmemory::{Harness, Record};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {
    number: String,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceCreated")]
struct InvoiceCreated {
    number: String,
}

async fn create(ctx: ConsumeContext<CreateInvoice>) -> Result<(), SendError> {
    let number = ctx.message().number.clone();
    println!("{number} created");
    ctx.publish(&InvoiceCreated { number }).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let once = Idempotency::new(MemoryIdempotencyStore::new())
        .by(|command: &CreateInvoice| command.number.clone());
    let invoicing = Endpoint::new("invoicing")
        .idempotency(once)
        .consumer(create);
    let harness = Harness::start(|bus| bus.endpoint(invoicing)).await?;

    for number in ["A-7", "A-7"].map(str::to_owned) {
        let command = CreateInvoice { number };
        harness.send_to("queue:invoicing", &command).await?;
    }
    harness.quiescent().await;

    assert_eq!(harness.published::<InvoiceCreated>().only().number, "A-7");
    let mut consumed = harness.consumed::<CreateInvoice>().all();
    assert_eq!(consumed.len(), 2);
    consumed.retain(Record::is_duplicate);
    assert_eq!(consumed.len(), 1);
    println!("1 of 2 commands was a duplicate");
    Ok(harness.shutdown().await?)
}
