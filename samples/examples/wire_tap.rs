//! `cargo run -p samples --example wire_tap`
//! Taps a queue: an audit receives a copy of every message of any type.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, RawMessage};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {}

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:InvoicePaid")]
struct InvoicePaid {}

async fn create(_: ConsumeContext<CreateInvoice>) -> ConsumeResult {
    Ok(())
}

async fn close(_: ConsumeContext<InvoicePaid>) -> ConsumeResult {
    Ok(())
}

async fn audit(ctx: ConsumeContext<RawMessage>) -> ConsumeResult {
    println!("audit: {:?}", ctx.envelope().message_types);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let invoicing = Endpoint::new("invoicing").consumer(create).consumer(close);
    let audit = Endpoint::new("audit").tap("invoicing").consume_any(audit);
    let harness = Harness::start(|bus| bus.endpoint(invoicing).endpoint(audit)).await?;

    harness
        .send_to("queue:invoicing", &CreateInvoice {})
        .await?;
    harness.publish(&InvoicePaid {}).await?;
    harness.quiescent().await;

    for endpoint in ["invoicing", "audit"] {
        assert_eq!(harness.consumed::<CreateInvoice>().on(endpoint).count(), 1);
        assert_eq!(harness.consumed::<InvoicePaid>().on(endpoint).count(), 1);
    }
    harness.shutdown().await?;
    Ok(())
}
