//! The shipping service: sends the goods once it knows both the invoice and its payment, in whichever order they come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus_core::idempotency::{IdempotencyStore, MemoryIdempotencyStore};
use bus_core::{ConsumeContext, ConsumeResult, Consumer, Endpoint, Idempotency};
use uuid::Uuid;

use crate::contracts::{InvoiceCreated, PaymentReceived, ShipmentSent};
use crate::locked;

/// The queue of the service.
pub const QUEUE: &str = "shipping-service";

/// What the instances of the service share: it stands for their database.
#[derive(Clone, Debug)]
pub struct Warehouse {
    parcels: Arc<Mutex<HashMap<Uuid, Parcel>>>,
    handled: Arc<dyn IdempotencyStore>,
}

/// What is known of one invoice. The half that comes early is parked here until the other one comes.
#[derive(Debug, Default)]
struct Parcel {
    number: Option<String>,
    is_paid: bool,
    shipped_by: Option<Half>,
    paid_first: bool,
}

/// The two events that a shipment needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Invoice,
    Payment,
}

impl Default for Warehouse {
    fn default() -> Self {
        Self {
            parcels: Arc::default(),
            handled: Arc::new(MemoryIdempotencyStore::new()),
        }
    }
}

impl Warehouse {
    /// How many shipments were sent.
    pub fn shipped(&self) -> usize {
        self.count(|parcel| parcel.shipped_by.is_some())
    }

    /// How many invoices or payments wait for their other half.
    pub fn parked(&self) -> usize {
        self.count(|parcel| parcel.shipped_by.is_none())
    }

    /// How many payments came before their invoice.
    pub fn paid_first(&self) -> usize {
        self.count(|parcel| parcel.paid_first)
    }

    fn count(&self, which: impl Fn(&Parcel) -> bool) -> usize {
        locked(&self.parcels)
            .values()
            .filter(|parcel| which(parcel))
            .count()
    }

    fn invoiced(&self, invoice: &InvoiceCreated) -> Option<ShipmentSent> {
        self.note(invoice.invoice_id, Half::Invoice, |parcel| {
            parcel.number = Some(invoice.number.clone());
            parcel.is_paid |= invoice.prepaid;
        })
    }

    fn paid(&self, payment: &PaymentReceived) -> Option<ShipmentSent> {
        self.note(payment.invoice_id, Half::Payment, |parcel| {
            parcel.is_paid = true;
            parcel.paid_first |= parcel.number.is_none();
        })
    }

    /// Notes one half, and says what to ship if that completes the parcel.
    ///
    /// The half that completed it owns the shipment. Noted again, it says the same: what a failed attempt published was
    /// held back, so the next attempt must publish it. The other half, noted again, must not ship a second time.
    fn note(
        &self,
        invoice_id: Uuid,
        half: Half,
        change: impl FnOnce(&mut Parcel),
    ) -> Option<ShipmentSent> {
        let mut parcels = locked(&self.parcels);
        let parcel = parcels.entry(invoice_id).or_default();
        change(parcel);
        let number = parcel.number.clone().filter(|_| parcel.is_paid)?;
        let owner = *parcel.shipped_by.get_or_insert(half);
        (owner == half).then_some(ShipmentSent { invoice_id, number })
    }
}

/// The endpoint of the service: one queue for both events, each handled once for each invoice.
pub fn endpoint(warehouse: Warehouse) -> Endpoint {
    let once = Idempotency::shared(Arc::clone(&warehouse.handled))
        .by(|invoice: &InvoiceCreated| format!("invoice {}", invoice.invoice_id))
        .by(|payment: &PaymentReceived| format!("payment {}", payment.invoice_id));
    Endpoint::new(QUEUE)
        .idempotency(once)
        .retry(crate::retry())
        .consumer_of::<InvoiceCreated>(Shipping {
            warehouse: warehouse.clone(),
        })
        .consumer_of::<PaymentReceived>(Shipping { warehouse })
}

struct Shipping {
    warehouse: Warehouse,
}

impl Consumer<InvoiceCreated> for Shipping {
    async fn consume(&self, ctx: ConsumeContext<InvoiceCreated>) -> ConsumeResult {
        if let Some(shipment) = self.warehouse.invoiced(ctx.message()) {
            ctx.publish(&shipment).await?;
        }
        Ok(())
    }
}

impl Consumer<PaymentReceived> for Shipping {
    async fn consume(&self, ctx: ConsumeContext<PaymentReceived>) -> ConsumeResult {
        if let Some(shipment) = self.warehouse.paid(ctx.message()) {
            ctx.publish(&shipment).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves() -> (InvoiceCreated, PaymentReceived) {
        let invoice_id = Uuid::now_v7();
        let invoice = InvoiceCreated {
            invoice_id,
            number: "A-7".to_owned(),
            amount_cents: 100,
            prepaid: false,
        };
        let payment = PaymentReceived {
            invoice_id,
            amount_cents: 100,
        };
        (invoice, payment)
    }

    #[test]
    fn an_attempt_that_failed_after_it_completed_the_parcel_ships_when_repeated() {
        let (warehouse, (invoice, payment)) = (Warehouse::default(), halves());
        assert_eq!(warehouse.invoiced(&invoice), None);
        let shipment = warehouse.paid(&payment);
        assert!(shipment.is_some());
        assert_eq!(warehouse.paid(&payment), shipment);
    }

    #[test]
    fn an_attempt_that_failed_before_the_other_half_came_does_not_ship_when_repeated() {
        let (warehouse, (invoice, payment)) = (Warehouse::default(), halves());
        assert_eq!(warehouse.invoiced(&invoice), None);
        assert!(warehouse.paid(&payment).is_some());
        assert_eq!(warehouse.invoiced(&invoice), None);
        assert_eq!(warehouse.shipped(), 1);
    }
}
