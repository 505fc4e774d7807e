//! The payments: a table of the payment service.

use std::future::Future;

use bus_sql::sqlx::{Result, query, query_as};
use uuid::Uuid;

use crate::database::{cents, on_either};

/// Creates the table.
pub const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS payment (invoice_id UUID PRIMARY KEY, cents BIGINT NOT NULL)";

/// Sum of the payments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Number of payments.
    pub payments: usize,
    /// Their sum, in cents.
    pub cents: u64,
}

/// The table of payments, by a connection to its database.
pub trait Account {
    /// Books the payment of an invoice, which can be booked once.
    fn book(
        &mut self,
        invoice_id: Uuid,
        amount_cents: u64,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Sums the payments up.
    fn balance(&mut self) -> impl Future<Output = Result<Balance>> + Send;
}

on_either! { impl Account for Connection {
    async fn book(&mut self, invoice_id: Uuid, amount_cents: u64) -> Result<()> {
        query("INSERT INTO payment (invoice_id, cents) VALUES ($1, $2)")
            .bind(invoice_id)
            .bind(cents(amount_cents)?)
            .execute(self)
            .await?;
        tracing::debug!(%invoice_id, amount_cents, "payment booked");
        Ok(())
    }

    async fn balance(&mut self) -> Result<Balance> {
        let (payments, cents): (i64, i64) =
            query_as("SELECT count(*), CAST(coalesce(sum(cents), 0) AS BIGINT) FROM payment")
                .fetch_one(self)
                .await?;
        let payments = usize::try_from(payments).unwrap_or_default();
        Ok(Balance { payments, cents: cents.unsigned_abs() })
    }
} }
