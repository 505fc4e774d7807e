//! `cargo run -p samples --example publish_subscribe`
//! Publishes one event, of which each subscribed endpoint receives a copy.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceCreated")]
struct InvoiceCreated {
    number: String,
}

async fn collect(ctx: ConsumeContext<InvoiceCreated>) -> ConsumeResult {
    println!("{} received {}", ctx.endpoint(), ctx.message().number);
    Ok(())
}

async fn pack(ctx: ConsumeContext<InvoiceCreated>) -> ConsumeResult {
    println!("{} received {}", ctx.endpoint(), ctx.message().number);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let harness = Harness::start(|bus| {
        bus.endpoint(Endpoint::new("payment-service").consumer(collect))
            .endpoint(Endpoint::new("shipping-service").consumer(pack))
    })
    .await?;

    let number = "A-7".to_owned();
    harness.publish(&InvoiceCreated { number }).await?;
    harness.quiescent().await;

    let received = harness.consumed::<InvoiceCreated>();
    assert_eq!(received.clone().on("payment-service").count(), 1);
    assert_eq!(received.clone().on("shipping-service").count(), 1);
    println!("one event, {} copies", received.count());
    harness.shutdown().await?;
    Ok(())
}
