//! `cargo run -p samples --bin payment-service -- --amqp amqp://localhost`
//!
//! Collects the money for invoices that are not paid yet. Start it twice: the two share the work,
//! and its table.

use std::process::ExitCode;

use bus_core::{BusBuilder, ConsumeContext, ConsumeResult, Endpoint};
use bus_sql::{Backend, Sql, Tx};
use samples::account::{self, Account};
use samples::contracts::{InvoiceCreated, PaymentReceived};
use samples::retry;
use samples::service::{self, Service};

pub(crate) const QUEUE: &str = "payment-service";

#[tokio::main]
async fn main() -> ExitCode {
    service::run::<PaymentService>().await
}

pub(crate) struct PaymentService;

impl<DB: Backend<Connection: Account>> Service<DB> for PaymentService {
    const NAME: &'static str = QUEUE;
    const TABLES: &'static [&'static str] = &[account::TABLE];

    fn configure(bus: BusBuilder, sql: Sql<DB>) -> BusBuilder {
        // The invoice is the key, not the message: should one be announced twice, it is paid once.
        let sql = sql.by(|invoice: &InvoiceCreated| invoice.invoice_id);
        let endpoint = Endpoint::new(QUEUE).consumer(sql.consumer(collect::<DB>));
        bus.background(sql.relay())
            .endpoint(endpoint.retry(retry()))
    }
}

async fn collect<DB: Backend<Connection: Account>>(
    ctx: ConsumeContext<InvoiceCreated>,
    tx: &mut Tx<DB>,
) -> ConsumeResult {
    let invoice = ctx.message();
    if invoice.prepaid {
        return Ok(());
    }
    tx.conn()
        .book(invoice.invoice_id, invoice.amount_cents)
        .await?;
    ctx.publish(&PaymentReceived {
        invoice_id: invoice.invoice_id,
        amount_cents: invoice.amount_cents,
    })
    .await?;
    Ok(())
}
