//! `cargo run -p samples --bin shipping-service -- --amqp amqp://localhost`
//!
//! Ships what is invoiced and paid, and shows how warm the warehouse is. Stop it for a while: its messages wait. Start it
//! once only: two processes would each know half of what they need, as they share no database.

use std::process::ExitCode;

use bus_core::{ConsumeContext, Endpoint, Idempotency, SendError};
use samples::contracts::{InvoiceCreated, PaymentReceived};
use samples::thermometer::{self, Display};
use samples::warehouse::Warehouse;
use samples::{retry, service};

pub(crate) const QUEUE: &str = "shipping-service";

#[tokio::main]
async fn main() -> ExitCode {
    service::run("shipping-service", |bus| {
        bus.endpoint(endpoint(Warehouse::default()))
            .endpoint(thermometer::endpoint(Display::default()))
    })
    .await
}

/// One queue for both events, each handled once for each invoice, in whichever order they come.
pub(crate) fn endpoint(warehouse: Warehouse) -> Endpoint {
    let once = Idempotency::shared(warehouse.handled.clone())
        .by(|invoice: &InvoiceCreated| format!("invoice {}", invoice.invoice_id))
        .by(|payment: &PaymentReceived| format!("payment {}", payment.invoice_id));
    Endpoint::new(QUEUE)
        .idempotency(once)
        .retry(retry())
        .consumer_with(warehouse.clone(), note_invoice)
        .consumer_with(warehouse, note_payment)
}

async fn note_invoice(
    warehouse: Warehouse,
    ctx: ConsumeContext<InvoiceCreated>,
) -> Result<(), SendError> {
    match warehouse.invoiced(ctx.message()) {
        Some(shipment) => ctx.publish(&shipment).await,
        None => Ok(()),
    }
}

async fn note_payment(
    warehouse: Warehouse,
    ctx: ConsumeContext<PaymentReceived>,
) -> Result<(), SendError> {
    match warehouse.paid(ctx.message()) {
        Some(shipment) => ctx.publish(&shipment).await,
        None => Ok(()),
    }
}
