//! The parcels: what the instances of the shipping service share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus_core::idempotency::MemoryIdempotencyStore;
use uuid::Uuid;

use crate::contracts::{InvoiceCreated, PaymentReceived, ShipmentSent};
use crate::locked;

/// All parcels by invoice. It stands for a database: clones share it.
#[derive(Clone, Debug, Default)]
pub struct Warehouse {
    parcels: Arc<Mutex<HashMap<Uuid, Parcel>>>,
    /// Which invoices and payments were handled.
    pub handled: Arc<MemoryIdempotencyStore>,
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

    /// Notes an invoice. Returns what is to be shipped, if its payment was there.
    pub fn invoiced(&self, invoice: &InvoiceCreated) -> Option<ShipmentSent> {
        self.note(invoice.invoice_id, Half::Invoice, |parcel| {
            parcel.number = Some(invoice.number.clone());
            parcel.is_paid |= invoice.prepaid;
        })
    }

    /// Notes a payment. Returns what is to be shipped, if its invoice was there.
    pub fn paid(&self, payment: &PaymentReceived) -> Option<ShipmentSent> {
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
