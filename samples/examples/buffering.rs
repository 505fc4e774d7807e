//! `cargo run -p samples --example buffering`
//! Keeps commands in their queue while the service is down, and while it is paused.
#![allow(clippy::print_stdout)]

use bus_core::{BusBuilder, ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {
    number: u32,
}

async fn create(ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
    println!("invoice {}", ctx.message().number);
    Ok(())
}

fn invoicing(bus: BusBuilder) -> BusBuilder {
    bus.endpoint(Endpoint::new("invoicing").consumer(create))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let harness = Harness::start(|client| client).await?;
    let send = |number| harness.send_to("queue:invoicing", &CreateInvoice { number });
    let waiting = || harness.transport().waiting("invoicing");

    send(1).await?;
    send(2).await?;
    println!("2 commands wait, as the service is down");
    assert_eq!(waiting(), Some(2));
    let service = harness.start_bus(invoicing).await?;
    harness.quiescent().await;
    assert_eq!(waiting(), Some(0));

    let endpoint = service.endpoint("invoicing").ok_or("no such endpoint")?;
    endpoint.pause().await;
    send(3).await?;
    println!("1 command waits, as the endpoint is paused");
    assert_eq!(waiting(), Some(1));
    endpoint.resume().await?;
    harness.quiescent().await;
    assert_eq!(harness.consumed::<CreateInvoice>().count(), 3);

    service.shutdown().await?;
    harness.shutdown().await?;
    Ok(())
}
