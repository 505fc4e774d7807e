//! `cargo run -p samples --example shutdown`
//! Stops a service: running consumers finish, later messages stay in the queue.
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use bus_core::{Bus, ConsumeContext, Endpoint, Message, SendError};
use bus_inmemory::InMemory;
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {}

#[derive(Serialize, Deserialize, Message)]
#[message("Payments:TakePayment")]
struct TakePayment {}

async fn create(step: Arc<Barrier>, ctx: ConsumeContext<CreateInvoice>) -> Result<(), SendError> {
    step.wait().await; // it runs
    step.wait().await; // the stop has begun
    println!("the running consumer finishes");
    ctx.send_to("queue:payments", &TakePayment {}).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = InMemory::new();
    let step = Arc::new(Barrier::new(2));
    let invoicing = Endpoint::new("invoicing").consumer_with(Arc::clone(&step), create);
    let service = Bus::builder(broker.clone())
        .endpoint(invoicing)
        .start()
        .await?;
    let client = Bus::builder(broker.clone()).start().await?;

    client.send_to("queue:invoicing", &CreateInvoice {}).await?;
    step.wait().await;
    // In a service, tokio::signal::ctrl_c() is awaited before this.
    let (stopped, _) = tokio::join!(service.shutdown(), step.wait());
    stopped?;
    assert_eq!(broker.waiting("payments"), Some(1)); // what the consumer sent

    client.send_to("queue:invoicing", &CreateInvoice {}).await?;
    assert_eq!(broker.waiting("invoicing"), Some(1)); // until the service is back
    println!("1 command waits for the next start");
    client.shutdown().await?;
    Ok(())
}
