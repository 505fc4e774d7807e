//! `cargo run -p samples --example command`
//! Sends commands to one queue, for which two instances of a service compete.
#![allow(clippy::print_stdout)]

use bus_core::{BusBuilder, ConsumeContext, Endpoint, Message, SendError};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {
    number: u32,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceCreated")]
struct InvoiceCreated {
    number: u32,
}

async fn create(ctx: ConsumeContext<CreateInvoice>) -> Result<(), SendError> {
    let number = ctx.message().number;
    ctx.publish(&InvoiceCreated { number }).await
}

fn invoicing(bus: BusBuilder) -> BusBuilder {
    bus.route::<CreateInvoice>("queue:invoice-service")
        .endpoint(Endpoint::new("invoice-service").consumer(create))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let harness = Harness::start(invoicing).await?;
    let second = harness.start_bus(invoicing).await?;

    for number in 1..=10 {
        harness.bus().send(&CreateInvoice { number }).await?; // where the route leads
    }
    harness.quiescent().await;

    assert_eq!(harness.consumed::<CreateInvoice>().count(), 10); // each by one instance
    assert_eq!(harness.published::<InvoiceCreated>().count(), 10);
    println!("10 commands created 10 invoices");
    second.shutdown().await?;
    harness.shutdown().await?;
    Ok(())
}
