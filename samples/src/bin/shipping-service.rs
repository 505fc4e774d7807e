//! `cargo run -p samples --bin shipping-service -- --amqp amqp://localhost`
//!
//! Ships what is invoiced and paid, and shows how warm the warehouse is. Stop it for a while: its messages wait. Start it
//! once only: two processes would each know half of what they need, as they share no database.

use std::process::ExitCode;

use samples::service;
use samples::shipping::{self, Warehouse};
use samples::thermometer::{self, Display};

#[tokio::main]
async fn main() -> ExitCode {
    service::run("shipping-service", |bus| {
        bus.endpoint(shipping::endpoint(Warehouse::default()))
            .endpoint(thermometer::endpoint(Display::default()))
    })
    .await
}
