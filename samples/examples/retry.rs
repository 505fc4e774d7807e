//! `cargo run -p samples --example retry`
//! Retries a failed payment; one that cannot succeed moves to the error queue.
#![allow(clippy::print_stdout)]

use std::time::Duration;

use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Message, Retry};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:TakePayment")]
struct TakePayment {
    cents: u64,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:PaymentTaken")]
struct PaymentTaken {
    cents: u64,
}

async fn take(ctx: ConsumeContext<TakePayment>) -> ConsumeResult {
    let cents = ctx.message().cents;
    println!("{cents} cents: attempt {}", ctx.attempt());
    ctx.publish(&PaymentTaken { cents }).await?; // held until an attempt succeeds
    match ctx.attempt() {
        _ if cents == 0 => Err(ConsumeError::permanent("nothing to pay")), // no retry
        1 | 2 => Err("the bank is away".into()),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let retry = Retry::interval(3, Duration::from_millis(10));
    let payments = Endpoint::new("payments").retry(retry).consumer(take);
    let harness = Harness::start(|bus| bus.endpoint(payments)).await?;

    for cents in [120, 0] {
        let command = TakePayment { cents };
        harness.send_to("queue:payments", &command).await?;
    }
    harness.quiescent().await;

    assert_eq!(harness.published::<PaymentTaken>().only().cents, 120);
    assert_eq!(harness.faulted::<TakePayment>().only().cents, 0);
    assert_eq!(harness.transport().waiting("payments_error"), Some(1));
    Ok(harness.shutdown().await?)
}
