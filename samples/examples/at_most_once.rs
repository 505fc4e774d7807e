//! `cargo run -p samples --example at_most_once`
//! Acknowledges before consuming: a message whose consumer fails is lost.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shipping:ParcelMoved")]
struct ParcelMoved {
    kilometre: u32,
}

async fn show(ctx: ConsumeContext<ParcelMoved>) -> ConsumeResult {
    let kilometre = ctx.message().kilometre;
    if kilometre == 1 {
        return Err("the display is off".into());
    }
    println!("the parcel is at kilometre {kilometre}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tracking = Endpoint::new("tracking").at_most_once().consumer(show);
    let harness = Harness::start(|bus| bus.endpoint(tracking)).await?;

    for kilometre in 1..=2 {
        harness.publish(&ParcelMoved { kilometre }).await?;
    }
    let lost = harness.faulted::<ParcelMoved>().wait().await?;
    let seen = harness.consumed::<ParcelMoved>().wait().await?;

    assert_eq!((lost.message().kilometre, lost.attempts()), (1, 1));
    assert_eq!(seen.message().kilometre, 2);
    // No copy stays: neither in the queue nor in an error queue.
    assert_eq!(harness.transport().waiting("tracking"), Some(0));
    assert_eq!(harness.transport().waiting("tracking_error"), None);
    println!("kilometre 1 is lost");
    harness.shutdown().await?;
    Ok(())
}
