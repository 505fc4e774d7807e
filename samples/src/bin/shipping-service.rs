//! `cargo run -p samples --bin shipping-service -- --amqp amqp://localhost`
//!
//! Ships what is invoiced and paid, and shows how warm the warehouse is. Stop it for a while: its
//! messages wait. Start it twice: one may note an invoice and the other its payment, as both halves
//! are in their table.

use std::process::ExitCode;

use bus_core::{BusBuilder, ConsumeContext, ConsumeResult, Endpoint};
use bus_sql::{Backend, Sql, Tx};
use samples::contracts::{InvoiceCreated, PaymentReceived};
use samples::retry;
use samples::service::{self, Service};
use samples::thermometer::{self, Display};
use samples::warehouse::{self, Warehouse};
use uuid::Uuid;

pub(crate) const QUEUE: &str = "shipping-service";

#[tokio::main]
async fn main() -> ExitCode {
    service::run::<ShippingService>().await
}

pub(crate) struct ShippingService;

impl<DB: Backend<Connection: Warehouse>> Service<DB> for ShippingService {
    const NAME: &'static str = QUEUE;
    const TABLES: &'static [&'static str] = &[warehouse::TABLE];

    fn configure(bus: BusBuilder, sql: Sql<DB>) -> BusBuilder {
        bus.background(sql.relay())
            .endpoint(endpoint(sql))
            .endpoint(thermometer::endpoint(Display::default()))
    }
}

/// One queue for both events, each handled once for each invoice, in whichever order they come.
pub(crate) fn endpoint<DB: Backend<Connection: Warehouse>>(sql: Sql<DB>) -> Endpoint {
    let sql = sql
        .by(|invoice: &InvoiceCreated| format!("invoice {}", invoice.invoice_id))
        .by(|payment: &PaymentReceived| format!("payment {}", payment.invoice_id));
    Endpoint::new(QUEUE)
        .retry(retry())
        .consumer(sql.consumer(note_invoice::<DB>))
        .consumer(sql.consumer(note_payment::<DB>))
}

async fn note_invoice<DB: Backend<Connection: Warehouse>>(
    ctx: ConsumeContext<InvoiceCreated>,
    tx: &mut Tx<DB>,
) -> ConsumeResult {
    tx.conn().note_invoice(ctx.message()).await?;
    ship(ctx.message().invoice_id, &ctx, tx).await
}

async fn note_payment<DB: Backend<Connection: Warehouse>>(
    ctx: ConsumeContext<PaymentReceived>,
    tx: &mut Tx<DB>,
) -> ConsumeResult {
    tx.conn().note_payment(ctx.message()).await?;
    ship(ctx.message().invoice_id, &ctx, tx).await
}

async fn ship<M: Send + Sync, DB: Backend<Connection: Warehouse>>(
    invoice_id: Uuid,
    ctx: &ConsumeContext<M>,
    tx: &mut Tx<DB>,
) -> ConsumeResult {
    if let Some(shipment) = tx.conn().ship(invoice_id).await? {
        ctx.publish(&shipment).await?;
    }
    Ok(())
}
