//! A saga: an invoice waits for its payment, which may become overdue.

use std::time::Duration;

use bus_core::Message;
use bus_saga::{Saga, SagaState, StateMachine, by};
use serde::{Deserialize, Serialize};

use crate::contracts::{InvoiceCreated, PaymentReceived};

/// Time that a customer has for a payment.
pub const PATIENCE: Duration = Duration::from_hours(14 * 24);

/// The end of the time for a payment; then an event that says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Samples.Payments:PaymentOverdue")]
pub struct PaymentOverdue {
    /// The number of the invoice.
    pub number: String,
}

/// Data of an invoice that waits for its payment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Debt {
    /// Amount that is not paid, in cents.
    pub open_cents: u64,
}

/// States of an invoice that waits for its payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
pub enum Stage {
    /// Nothing is overdue.
    Open,
    /// The customer was reminded.
    Overdue,
}

impl Saga for Debt {
    type State = Stage;
    const NAME: &'static str = "debt";
}

/// Returns the machine: paid in parts, reminded after two weeks.
pub fn dunning() -> StateMachine<Debt> {
    let mut saga = StateMachine::<Debt>::new();
    let created = saga.event(by::id(|it: &InvoiceCreated| it.invoice_id));
    let received = saga.event(by::id(|it: &PaymentReceived| it.invoice_id));
    let overdue = saga.timeout::<PaymentOverdue>();

    saga.initially(created, |on| {
        on.set(|debt, invoice| debt.open_cents = invoice.amount_cents)
            .schedule(overdue, PATIENCE, |_, invoice| PaymentOverdue {
                number: invoice.number.clone(),
            })
            .go(Stage::Open)
    })
    .during(Stage::ALL, received, |on| {
        on.when(|debt, payment| payment.amount_cents >= debt.open_cents)
            .finish()
    })
    .during(Stage::ALL, received, |on| {
        on.set(|debt, payment| debt.open_cents -= payment.amount_cents)
            .stay()
    })
    .during(Stage::Open, overdue.fired, |on| {
        on.publish(|_, overdue| overdue.clone()).go(Stage::Overdue)
    })
    .ignore_everywhere(created);
    saga
}
