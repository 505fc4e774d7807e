//! `cargo run -p samples --example redelivery`
//! Lets a payment come again an hour later, as its bank is closed, while others go on.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message, Policy, Retry};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:TakePayment")]
struct TakePayment {
    cents: u64,
}

async fn take(ctx: ConsumeContext<TakePayment>) -> ConsumeResult {
    let cents = ctx.message().cents;
    if cents == 120 && ctx.redelivery_count() < 2 {
        println!("{cents} cents: the bank is closed");
        return Err("the bank is closed".into());
    }
    println!("{cents} cents: taken");
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)] // hours pass at once
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hour = Duration::from_hours(1);
    let hourly = Policy::new().redelivery(Retry::interval(24, hour));
    let payments = Endpoint::new("payments").policy(hourly).consumer(take);
    let harness = Harness::start(|bus| bus.endpoint(payments)).await?;
    let began = tokio::time::Instant::now();

    for cents in [120, 80] {
        harness
            .send_to("queue:payments", &TakePayment { cents })
            .await?;
    }
    while harness.consumed::<TakePayment>().count() < 2 {
        tokio::time::sleep(hour).await;
    }
    let hours = began.elapsed().as_secs() / 3600;
    println!("all are taken after {hours} hours");
    Ok(harness.shutdown().await?)
}
