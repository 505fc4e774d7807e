//! `cargo run -p samples --bin payment-service -- --amqp amqp://localhost`
//!
//! Collects the money for invoices that are not paid yet. Start it twice: the two share the work.

use std::process::ExitCode;

use bus_core::{ConsumeContext, Endpoint, Idempotency, SendError};
use samples::account::Account;
use samples::contracts::{InvoiceCreated, PaymentReceived};
use samples::{retry, service};

pub(crate) const QUEUE: &str = "payment-service";

#[tokio::main]
async fn main() -> ExitCode {
    service::run("payment-service", |bus| {
        bus.endpoint(endpoint(Account::default()))
    })
    .await
}

/// An invoice is the idempotency key, not a message: should the invoice service announce one twice, it is paid once.
pub(crate) fn endpoint(account: Account) -> Endpoint {
    let once = Idempotency::shared(account.handled.clone())
        .by(|invoice: &InvoiceCreated| invoice.invoice_id.to_string());
    Endpoint::new(QUEUE)
        .idempotency(once)
        .retry(retry())
        .consumer_with(account, collect)
}

async fn collect(account: Account, ctx: ConsumeContext<InvoiceCreated>) -> Result<(), SendError> {
    let invoice = ctx.message();
    if invoice.prepaid {
        return Ok(());
    }
    account.book(invoice.invoice_id, invoice.amount_cents);
    ctx.publish(&PaymentReceived {
        invoice_id: invoice.invoice_id,
        amount_cents: invoice.amount_cents,
    })
    .await
}
