//! `cargo run -p samples --example state`
//! Shares a state between a function and a consumer of two messages.
#![allow(clippy::print_stdout)]

use bus_core::consume::consumers;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, SendError};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceCreated")]
struct InvoiceCreated {}

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:InvoicePaid")]
struct InvoicePaid {}

async fn pay(paid: Arc<AtomicU64>, ctx: ConsumeContext<InvoiceCreated>) -> Result<(), SendError> {
    paid.fetch_add(1, Relaxed);
    ctx.publish(&InvoicePaid {}).await
}

struct Shipping(AtomicU64);

#[consumers]
impl Shipping {
    async fn pack(&self, _: ConsumeContext<InvoiceCreated>) -> ConsumeResult {
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn ship(&self, _: ConsumeContext<InvoicePaid>) -> ConsumeResult {
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (paid, shipping) = (Arc::<AtomicU64>::default(), Arc::new(Shipping(0.into())));
    let payments = Endpoint::new("payments").consumer_with(Arc::clone(&paid), pay);
    let shipments = Endpoint::new("shipping").consumers(Arc::clone(&shipping));
    let harness = Harness::start(|bus| bus.endpoint(payments).endpoint(shipments)).await?;
    harness.publish(&InvoiceCreated {}).await?;
    harness.quiescent().await;
    assert_eq!((paid.load(Relaxed), shipping.0.load(Relaxed)), (1, 2));
    println!("1 payment; shipping consumed 2 messages");
    Ok(harness.shutdown().await?)
}
