//! `cargo run -p samples --example partition`
//! Handles the changes of one invoice in their order, beside those of others.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, Policy};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:InvoiceChanged")]
struct InvoiceChanged {
    invoice: String,
    version: u64,
}

async fn store(ctx: ConsumeContext<InvoiceChanged>) -> ConsumeResult {
    // The first version takes longest: without keys, the later ones would overtake it.
    tokio::time::sleep(Duration::from_millis(10 - ctx.message().version)).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let by_invoice = Policy::new()
        .prefetch(100) // those that wait for their key need a place
        .partition_by(|change: &InvoiceChanged| change.invoice.clone());
    let archive = Endpoint::new("archive").policy(by_invoice).consumer(store);
    let harness = Harness::start(|bus| bus.endpoint(archive)).await?;

    for version in 1..=5 {
        for invoice in ["A-7", "A-8", "A-9"] {
            let invoice = invoice.to_owned();
            harness
                .publish(&InvoiceChanged { invoice, version })
                .await?;
        }
    }
    harness.quiescent().await;

    for invoice in ["A-7", "A-8", "A-9"] {
        let stored = harness.consumed::<InvoiceChanged>();
        let stored = stored.matching(|change| change.invoice == invoice);
        let versions: Vec<_> = stored.iter().map(|one| one.message().version).collect();
        println!("{invoice}: {versions:?}");
        assert_eq!(versions, [1, 2, 3, 4, 5]);
    }
    harness.shutdown().await?;
    Ok(())
}
