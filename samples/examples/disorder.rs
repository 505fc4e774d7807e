//! `cargo run -p samples --example disorder`
//! Shows that a consumer minds neither repeated messages nor their order.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

#[derive(Serialize, Deserialize, Message)]
#[message("Stock:StockChanged")]
struct StockChanged {
    version: u32,
    on_hand: u32,
}

/// Stands for a database: the version of the stock, and the stock.
type Stock = Arc<Mutex<(u32, u32)>>;

async fn store(stock: Stock, ctx: ConsumeContext<StockChanged>) -> ConsumeResult {
    let change = ctx.message();
    let mut stored = stock.lock().map_err(|error| error.to_string())?;
    // Without this condition, the assertion below fails.
    if change.version > stored.0 {
        *stored = (change.version, change.on_hand);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    for seed in 0..20 {
        let stock = Stock::default();
        let shop = Endpoint::new("shop").consumer_with(Arc::clone(&stock), store);
        let harness = Harness::start(|bus| bus.endpoint(shop)).await?;
        let harness = harness.deliver_twice().shuffle(seed);

        for version in 1..=5 {
            let on_hand = 100 - version;
            let change = StockChanged { version, on_hand };
            harness.publish(&change).await?;
        }
        harness.quiescent().await;

        assert_eq!(harness.consumed::<StockChanged>().count(), 10);
        assert_eq!(*stock.lock().expect("unpoisoned"), (5, 95), "seed {seed}");
    }
    println!("95 on hand, in 20 orders");
    Ok(())
}
