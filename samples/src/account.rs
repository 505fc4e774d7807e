//! The payments: what the instances of the payment service share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus_core::idempotency::MemoryIdempotencyStore;
use uuid::Uuid;

use crate::locked;

/// All payments by invoice. It stands for a database: clones share it.
#[derive(Clone, Debug, Default)]
pub struct Account {
    cents: Arc<Mutex<HashMap<Uuid, u64>>>,
    /// Which invoices were handled.
    pub handled: Arc<MemoryIdempotencyStore>,
}

impl Account {
    /// How many payments were booked.
    pub fn count(&self) -> usize {
        locked(&self.cents).len()
    }

    /// How much was paid in all, in cents.
    pub fn total_cents(&self) -> u64 {
        locked(&self.cents).values().sum()
    }

    /// Books a payment. Booking the same invoice again changes nothing.
    pub fn book(&self, invoice_id: Uuid, amount_cents: u64) {
        locked(&self.cents).insert(invoice_id, amount_cents);
        tracing::debug!(%invoice_id, amount_cents, "payment booked");
    }
}
