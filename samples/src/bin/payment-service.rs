//! `cargo run -p samples --bin payment-service -- --amqp amqp://localhost`
//!
//! Collects the money for invoices. Start it twice: the two share the work.

use std::process::ExitCode;

use samples::payment::{self, Account};
use samples::service;

#[tokio::main]
async fn main() -> ExitCode {
    service::run("payment-service", |bus| {
        bus.endpoint(payment::endpoint(Account::default()))
    })
    .await
}
