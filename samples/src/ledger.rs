//! The invoices: a table of the invoice service.

use std::future::Future;

use bus_sql::sqlx::{Result, query, query_as, query_scalar};
use uuid::Uuid;

use crate::contracts::InvoiceDocument;
use crate::database::{cents, on_either};

/// Creates the table.
pub const TABLE: &str = "CREATE TABLE IF NOT EXISTS invoice (number TEXT PRIMARY KEY, invoice_id UUID NOT NULL, \
                         customer TEXT NOT NULL, cents BIGINT NOT NULL)";

/// The table of invoices, by a connection to its database.
pub trait Ledger {
    /// Enters an invoice; a number can be entered once.
    fn enter(&mut self, invoice: &InvoiceDocument) -> impl Future<Output = Result<()>> + Send;

    /// Finds the invoice of a number.
    fn find(
        &mut self,
        number: &str,
    ) -> impl Future<Output = Result<Option<InvoiceDocument>>> + Send;

    /// Counts the invoices.
    fn invoices(&mut self) -> impl Future<Output = Result<usize>> + Send;
}

on_either! { impl Ledger for Connection {
    async fn enter(&mut self, invoice: &InvoiceDocument) -> Result<()> {
        query("INSERT INTO invoice (number, invoice_id, customer, cents) VALUES ($1, $2, $3, $4)")
            .bind(&invoice.number)
            .bind(invoice.invoice_id)
            .bind(&invoice.customer)
            .bind(cents(invoice.amount_cents)?)
            .execute(self)
            .await?;
        Ok(())
    }

    async fn find(&mut self, number: &str) -> Result<Option<InvoiceDocument>> {
        let row: Option<(Uuid, String, String, i64)> =
            query_as("SELECT invoice_id, number, customer, cents FROM invoice WHERE number = $1")
                .bind(number)
                .fetch_optional(self)
                .await?;
        Ok(row.map(|(invoice_id, number, customer, cents)| InvoiceDocument {
            invoice_id,
            number,
            customer,
            amount_cents: cents.unsigned_abs(),
        }))
    }

    async fn invoices(&mut self) -> Result<usize> {
        let count: i64 = query_scalar("SELECT count(*) FROM invoice").fetch_one(self).await?;
        Ok(usize::try_from(count).unwrap_or_default())
    }
} }
