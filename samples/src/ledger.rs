//! The invoices: what the instances of the invoice service share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus_core::idempotency::MemoryIdempotencyStore;

use crate::contracts::InvoiceDocument;
use crate::locked;

/// All invoices by number. It stands for a database: clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    invoices: Arc<Mutex<HashMap<String, InvoiceDocument>>>,
    /// Which commands were handled.
    pub handled: Arc<MemoryIdempotencyStore>,
}

impl Ledger {
    /// How many invoices were made.
    pub fn count(&self) -> usize {
        locked(&self.invoices).len()
    }

    /// Stores an invoice under its number.
    pub fn insert(&self, invoice: InvoiceDocument) {
        locked(&self.invoices).insert(invoice.number.clone(), invoice);
    }

    /// The invoice of a number.
    pub fn find(&self, number: &str) -> Option<InvoiceDocument> {
        locked(&self.invoices).get(number).cloned()
    }
}
