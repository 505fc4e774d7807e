//! `cargo run -p samples --bin invoice-service -- --amqp amqp://localhost`
//!
//! Makes invoices of commands, answers queries about them, and audits the commands.

use std::process::ExitCode;

use samples::audit::{self, Journal};
use samples::invoice::{self, Ledger};
use samples::service;

#[tokio::main]
async fn main() -> ExitCode {
    let ledger = Ledger::default();
    service::run("invoice-service", |bus| {
        bus.endpoint(invoice::commands(ledger.clone()))
            .endpoint(invoice::queries(ledger))
            .endpoint(audit::endpoint(Journal::default()))
    })
    .await
}
