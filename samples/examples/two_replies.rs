//! `cargo run -p samples --example two_replies`
//! Requests a payment, and receives one of two replies as an enum.
#![allow(clippy::print_stdout)]

use bus_core::{Bus, ConsumeContext, Endpoint, Message, Reply, SendError};
use bus_inmemory::InMemory;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:TakePayment")]
struct TakePayment {
    cents: u64,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:PaymentTaken")]
struct PaymentTaken {}

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:PaymentDeclined")]
struct PaymentDeclined {}

#[derive(Reply)]
enum Outcome {
    Taken(PaymentTaken),
    Declined(PaymentDeclined),
}

async fn take(ctx: ConsumeContext<TakePayment>) -> Result<(), SendError> {
    match ctx.message().cents {
        0..=1000 => ctx.respond(&PaymentTaken {}).await,
        _ => ctx.respond(&PaymentDeclined {}).await,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Bus::builder(InMemory::new()).endpoint(Endpoint::new("payments").consumer(take));
    let bus = bus.start().await?;

    for (cents, expected) in [(120, "taken"), (5000, "declined")] {
        let outcome = match bus.request(&TakePayment { cents }).await? {
            Outcome::Taken(PaymentTaken {}) => "taken",
            Outcome::Declined(PaymentDeclined {}) => "declined",
        };
        assert_eq!(outcome, expected);
        println!("{cents} cents: {outcome}");
    }
    Ok(bus.shutdown().await?)
}
