//! `cargo run -p samples --example testing`
//! Tests a service on the harness: sends, waits until all is done, then asserts.
#![allow(clippy::print_stdout)]

use bus_core::{BusBuilder, ConsumeContext, ConsumeResult, Endpoint, Message, Retry};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {
    number: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceCreated")]
struct InvoiceCreated {
    number: u32,
}

async fn create(ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
    if ctx.attempt() == 1 {
        return Err("the database is away".into());
    }
    let number = ctx.message().number;
    Ok(ctx.publish(&InvoiceCreated { number }).await?)
}

// The service, as production starts it.
fn invoicing(bus: BusBuilder) -> BusBuilder {
    let retry = Retry::interval(3, Duration::from_secs(20));
    bus.endpoint(Endpoint::new("invoicing").retry(retry).consumer(create))
}

// In a test: #[tokio::test(start_paused = true)]. Waits for retries take no time then.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let harness = Harness::start(invoicing).await?;
    let command = CreateInvoice { number: 7 };
    harness.send_to("queue:invoicing", &command).await?;
    harness.quiescent().await;

    let created = harness.published::<InvoiceCreated>().only();
    assert_eq!(created, InvoiceCreated { number: 7 });
    assert!(harness.faulted::<CreateInvoice>().none());
    println!("{created:?}");
    Ok(harness.shutdown().await?)
}
