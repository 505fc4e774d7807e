//! `cargo run -p samples --bin invoice-service -- --amqp amqp://localhost`
//!
//! Makes invoices of commands, answers queries about them, and audits the commands.

use std::process::ExitCode;

use bus_core::{ConsumeContext, Endpoint, Idempotency, SendError};
use samples::audit::{self, Journal};
use samples::contracts::{
    CreateInvoice, GetInvoice, INVOICE_QUERIES, INVOICE_SERVICE, InvoiceCreated, InvoiceDocument,
    InvoiceUnknown,
};
use samples::ledger::Ledger;
use samples::{retry, service};

#[tokio::main]
async fn main() -> ExitCode {
    let ledger = Ledger::default();
    service::run("invoice-service", |bus| {
        bus.endpoint(commands(ledger.clone()))
            .endpoint(queries(ledger))
            .endpoint(audit::endpoint(Journal::default()))
    })
    .await
}

/// The number of an invoice is the idempotency key: a command that comes twice makes one invoice and one event. The same
/// number with other content is a mistake of the sender and ends in the error queue.
pub(crate) fn commands(ledger: Ledger) -> Endpoint {
    let once = Idempotency::shared(ledger.handled.clone())
        .by(|command: &CreateInvoice| command.number.clone());
    Endpoint::new(INVOICE_SERVICE)
        .idempotency(once)
        .retry(retry())
        .consumer_with(ledger, create_invoice)
}

/// A queue of its own: a query never waits behind commands.
pub(crate) fn queries(ledger: Ledger) -> Endpoint {
    Endpoint::new(INVOICE_QUERIES)
        .retry(retry())
        .consumer_with(ledger, get_invoice)
}

async fn create_invoice(
    ledger: Ledger,
    ctx: ConsumeContext<CreateInvoice>,
) -> Result<(), SendError> {
    let command = ctx.message().clone();
    let created = InvoiceCreated {
        invoice_id: command.invoice_id,
        number: command.number.clone(),
        amount_cents: command.amount_cents,
        prepaid: command.prepaid,
    };
    ledger.insert(InvoiceDocument {
        invoice_id: command.invoice_id,
        number: command.number,
        customer: command.customer,
        amount_cents: command.amount_cents,
    });
    ctx.publish(&created).await
}

async fn get_invoice(ledger: Ledger, ctx: ConsumeContext<GetInvoice>) -> Result<(), SendError> {
    let number = ctx.message().number.clone();
    match ledger.find(&number) {
        Some(document) => ctx.respond(&document).await,
        None => ctx.respond(&InvoiceUnknown { number }).await,
    }
}
