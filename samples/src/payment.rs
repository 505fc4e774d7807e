//! The payment service: collects the money for each invoice that is not paid yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus_core::idempotency::{IdempotencyStore, MemoryIdempotencyStore};
use bus_core::{ConsumeContext, ConsumeResult, Consumer, Endpoint, Idempotency};
use uuid::Uuid;

use crate::contracts::{InvoiceCreated, PaymentReceived};
use crate::locked;

/// The queue of the service.
pub const QUEUE: &str = "payment-service";

/// What the instances of the service share: it stands for their database.
#[derive(Clone, Debug)]
pub struct Account {
    cents: Arc<Mutex<HashMap<Uuid, u64>>>,
    handled: Arc<dyn IdempotencyStore>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            cents: Arc::default(),
            handled: Arc::new(MemoryIdempotencyStore::new()),
        }
    }
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

    /// Booking the same invoice again changes nothing.
    fn book(&self, invoice_id: Uuid, amount_cents: u64) {
        locked(&self.cents).insert(invoice_id, amount_cents);
    }
}

/// The endpoint of the service. An invoice is the idempotency key, not a message: should the invoice service announce
/// one twice, it is paid once.
pub fn endpoint(account: Account) -> Endpoint {
    let once = Idempotency::shared(Arc::clone(&account.handled))
        .by(|invoice: &InvoiceCreated| invoice.invoice_id.to_string());
    Endpoint::new(QUEUE)
        .idempotency(once)
        .retry(crate::retry())
        .consumer(PaymentConsumer { account })
}

struct PaymentConsumer {
    account: Account,
}

impl Consumer<InvoiceCreated> for PaymentConsumer {
    async fn consume(&self, ctx: ConsumeContext<InvoiceCreated>) -> ConsumeResult {
        let InvoiceCreated {
            invoice_id,
            amount_cents,
            prepaid,
            ..
        } = *ctx.message();
        if prepaid {
            return Ok(());
        }
        self.account.book(invoice_id, amount_cents);
        tracing::debug!(%invoice_id, amount_cents, "payment booked");
        ctx.publish(&PaymentReceived {
            invoice_id,
            amount_cents,
        })
        .await?;
        Ok(())
    }
}
