//! `cargo run -p samples --example saga`
//! Waits two weeks for the payments of two invoices; the clock is paused.
#![allow(clippy::print_stdout)]

use bus_core::Endpoint;
use bus_core::error::BoxError;
use bus_inmemory::Harness;
use bus_saga::{MemorySagas, Sagas};
use samples::contracts::{InvoiceCreated, PaymentReceived};
use samples::dunning::{Debt, PATIENCE, PaymentOverdue, dunning};
use uuid::Uuid;

fn invoice(number: &str) -> InvoiceCreated {
    InvoiceCreated {
        invoice_id: Uuid::now_v7(),
        number: number.to_owned(),
        amount_cents: 120,
        prepaid: false,
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)] // weeks pass at once
async fn main() -> Result<(), BoxError> {
    print!("{}", dunning().mermaid());
    let sagas = MemorySagas::new(); // or those of `bus-sql`
    let invoices = dunning().stored_in(sagas.clone());
    let harness = Harness::start(|bus| bus.endpoint(invoices.on(Endpoint::new("dunning")))).await?;

    let [paid, open] = [invoice("A-7"), invoice("A-8")];
    harness.publish(&paid).await?;
    harness.publish(&open).await?;
    harness.quiescent().await;
    let payment = PaymentReceived {
        invoice_id: paid.invoice_id,
        amount_cents: 120,
    };
    harness.publish(&payment).await?;
    tokio::time::sleep(PATIENCE).await;
    harness.quiescent().await;

    let overdue = harness.published::<PaymentOverdue>().only();
    let debts = Sagas::<Debt>::of(sagas);
    let debt = debts.find(open.invoice_id).await?.ok_or("no instance")?;
    println!("{} is unpaid: {:?}", overdue.number, debt.state);
    Ok(harness.shutdown().await?)
}
