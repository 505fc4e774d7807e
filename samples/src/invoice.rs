//! The invoice service: turns commands into invoices, and answers queries about them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus_core::idempotency::{IdempotencyStore, MemoryIdempotencyStore};
use bus_core::{ConsumeContext, ConsumeResult, Consumer, Endpoint, Idempotency};

use crate::contracts::{
    CreateInvoice, GetInvoice, InvoiceCreated, InvoiceDocument, InvoiceUnknown,
};
use crate::locked;

/// The queue of the commands.
pub const QUEUE: &str = "invoice-service";

/// The queue of the queries.
pub const QUERIES: &str = "invoice-queries";

/// What the instances of the service share: it stands for their database.
#[derive(Clone, Debug)]
pub struct Ledger {
    invoices: Arc<Mutex<HashMap<String, InvoiceDocument>>>,
    handled: Arc<dyn IdempotencyStore>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            invoices: Arc::default(),
            handled: Arc::new(MemoryIdempotencyStore::new()),
        }
    }
}

impl Ledger {
    /// How many invoices were made.
    pub fn count(&self) -> usize {
        locked(&self.invoices).len()
    }

    fn insert(&self, invoice: InvoiceDocument) {
        locked(&self.invoices).insert(invoice.number.clone(), invoice);
    }

    fn find(&self, number: &str) -> Option<InvoiceDocument> {
        locked(&self.invoices).get(number).cloned()
    }
}

/// The endpoint of the commands. The number of an invoice is the idempotency key: a command that comes twice makes one
/// invoice and one event. The same number with other content is a mistake of the sender and ends in the error queue.
pub fn commands(ledger: Ledger) -> Endpoint {
    let once = Idempotency::shared(Arc::clone(&ledger.handled))
        .by(|command: &CreateInvoice| command.number.clone());
    Endpoint::new(QUEUE)
        .idempotency(once)
        .retry(crate::retry())
        .consumer(CreateInvoiceConsumer { ledger })
}

/// The endpoint of the queries, on a queue of its own: a query never waits behind commands.
pub fn queries(ledger: Ledger) -> Endpoint {
    Endpoint::new(QUERIES)
        .retry(crate::retry())
        .consumer(GetInvoiceConsumer { ledger })
}

struct CreateInvoiceConsumer {
    ledger: Ledger,
}

impl Consumer<CreateInvoice> for CreateInvoiceConsumer {
    async fn consume(&self, ctx: ConsumeContext<CreateInvoice>) -> ConsumeResult {
        let CreateInvoice {
            invoice_id,
            number,
            customer,
            amount_cents,
            prepaid,
        } = ctx.message().clone();
        self.ledger.insert(InvoiceDocument {
            invoice_id,
            number: number.clone(),
            customer,
            amount_cents,
        });
        ctx.publish(&InvoiceCreated {
            invoice_id,
            number,
            amount_cents,
            prepaid,
        })
        .await?;
        Ok(())
    }
}

struct GetInvoiceConsumer {
    ledger: Ledger,
}

impl Consumer<GetInvoice> for GetInvoiceConsumer {
    async fn consume(&self, ctx: ConsumeContext<GetInvoice>) -> ConsumeResult {
        let number = ctx.message().number.clone();
        let response = match self.ledger.find(&number) {
            Some(document) => ctx.respond(&document),
            None => ctx.respond(&InvoiceUnknown { number }),
        };
        response.await?;
        Ok(())
    }
}
