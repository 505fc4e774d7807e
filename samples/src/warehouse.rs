//! The parcels: a table of the shipping service.

use std::future::Future;

use bus_sql::sqlx::{Result, query, query_as, query_scalar};
use uuid::Uuid;

use crate::contracts::{InvoiceCreated, PaymentReceived, ShipmentSent};
use crate::database::on_either;

/// Creates the table. The half that comes early is kept in it until the other one comes.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS parcel (invoice_id UUID PRIMARY KEY, number TEXT, \
                         paid BOOLEAN NOT NULL, paid_first BOOLEAN NOT NULL, shipped BOOLEAN NOT NULL)";

/// Numbers of parcels by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Shipments that were sent.
    pub shipped: usize,
    /// Invoices and payments that wait for their other half.
    pub parked: usize,
    /// Payments that came before their invoice.
    pub paid_first: usize,
}

/// The table of parcels, by a connection to its database.
///
/// A half is noted by one statement, which locks the parcel until the commit: of two halves that
/// come at once, the second one sees the first.
pub trait Warehouse {
    /// Notes an invoice.
    fn note_invoice(&mut self, invoice: &InvoiceCreated)
    -> impl Future<Output = Result<()>> + Send;

    /// Notes a payment.
    fn note_payment(
        &mut self,
        payment: &PaymentReceived,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Ships a parcel that is complete, once; `None` as long as a half is missing.
    fn ship(
        &mut self,
        invoice_id: Uuid,
    ) -> impl Future<Output = Result<Option<ShipmentSent>>> + Send;

    /// Counts the parcels.
    fn stock(&mut self) -> impl Future<Output = Result<Stock>> + Send;
}

on_either! { impl Warehouse for Connection {
    async fn note_invoice(&mut self, invoice: &InvoiceCreated) -> Result<()> {
        query(
            "INSERT INTO parcel (invoice_id, number, paid, paid_first, shipped) VALUES ($1, $2, $3, false, false) \
             ON CONFLICT (invoice_id) DO UPDATE SET number = excluded.number, paid = parcel.paid OR excluded.paid",
        )
        .bind(invoice.invoice_id)
        .bind(&invoice.number)
        .bind(invoice.prepaid)
        .execute(self)
        .await?;
        Ok(())
    }

    async fn note_payment(&mut self, payment: &PaymentReceived) -> Result<()> {
        query(
            "INSERT INTO parcel (invoice_id, paid, paid_first, shipped) VALUES ($1, true, true, false) \
             ON CONFLICT (invoice_id) DO UPDATE SET paid = true",
        )
        .bind(payment.invoice_id)
        .execute(self)
        .await?;
        Ok(())
    }

    async fn ship(&mut self, invoice_id: Uuid) -> Result<Option<ShipmentSent>> {
        let number: Option<String> = query_scalar(
            "UPDATE parcel SET shipped = true \
             WHERE invoice_id = $1 AND number IS NOT NULL AND paid AND NOT shipped RETURNING number",
        )
        .bind(invoice_id)
        .fetch_optional(self)
        .await?;
        Ok(number.map(|number| ShipmentSent { invoice_id, number }))
    }

    async fn stock(&mut self) -> Result<Stock> {
        let (all, shipped, paid_first): (i64, i64, i64) = query_as(
            "SELECT count(*), count(CASE WHEN shipped THEN 1 END), count(CASE WHEN paid_first THEN 1 END) FROM parcel",
        )
        .fetch_one(self)
        .await?;
        let [parked, shipped, paid_first] =
            [all - shipped, shipped, paid_first].map(|count| usize::try_from(count).unwrap_or_default());
        Ok(Stock { shipped, parked, paid_first })
    }
} }
