//! `cargo run -p samples --example request_reply`
//! Requests a document, and receives an error where the consumer fails.
#![allow(clippy::print_stdout)]

use bus_core::{Bus, ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Message, RequestError};
use bus_inmemory::InMemory;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:GetInvoice")]
struct GetInvoice {
    number: String,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceDocument")]
struct InvoiceDocument {
    total: u64,
}

async fn find(ctx: ConsumeContext<GetInvoice>) -> ConsumeResult {
    if ctx.message().number != "A-7" {
        return Err(ConsumeError::permanent("there is no such invoice"));
    }
    ctx.respond(&InvoiceDocument { total: 120 }).await?;
    Ok(())
}

async fn total(bus: &Bus, number: &str) -> Result<u64, RequestError> {
    let number = number.to_owned();
    let document: InvoiceDocument = bus.request(&GetInvoice { number }).await?;
    Ok(document.total)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queries = Endpoint::new("invoice-queries").consumer(find);
    let bus = Bus::builder(InMemory::new())
        .endpoint(queries)
        .start()
        .await?;

    assert_eq!(total(&bus, "A-7").await?, 120);
    println!("A-7: total 120");
    let missing = total(&bus, "B-1").await.expect_err("it does not exist");
    assert!(matches!(missing, RequestError::Fault(_)));
    println!("B-1: {missing}");
    Ok(bus.shutdown().await?)
}
