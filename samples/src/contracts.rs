//! Contracts of the services: the only thing that they share.
//!
//! A real system keeps this in a crate of its own, so that a service depends on contracts and not on services.

use bus_core::Message;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The queue of the invoice service: where [`CreateInvoice`] is sent.
pub const INVOICE_SERVICE: &str = "invoice-service";

/// The queue of the queries about invoices: where [`GetInvoice`] is sent.
pub const INVOICE_QUERIES: &str = "invoice-queries";

/// A command: make an invoice. Sent to the one service that makes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Samples.Invoicing:CreateInvoice", correlation = "invoice_id")]
pub struct CreateInvoice {
    /// Identifies the invoice in every message about it.
    pub invoice_id: Uuid,
    /// The number on the paper: two commands with the same number ask for the same invoice.
    pub number: String,
    /// Name of the customer.
    pub customer: String,
    /// Amount, in cents.
    pub amount_cents: u64,
    /// The customer has paid already, at the checkout.
    pub prepaid: bool,
}

/// An event: an invoice was made. Published to all that subscribe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Samples.Invoicing:InvoiceCreated", correlation = "invoice_id")]
pub struct InvoiceCreated {
    /// The invoice.
    pub invoice_id: Uuid,
    /// Its number.
    pub number: String,
    /// Amount to pay, in cents.
    pub amount_cents: u64,
    /// It was paid already.
    pub prepaid: bool,
}

/// An event: an invoice was paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Samples.Payments:PaymentReceived", correlation = "invoice_id")]
pub struct PaymentReceived {
    /// The invoice.
    pub invoice_id: Uuid,
    /// Amount that was paid, in cents.
    pub amount_cents: u64,
}

/// An event: the goods are on their way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Samples.Shipping:ShipmentSent", correlation = "invoice_id")]
pub struct ShipmentSent {
    /// The invoice.
    pub invoice_id: Uuid,
    /// Its number.
    pub number: String,
}

/// A query for an invoice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Samples.Invoicing:GetInvoice")]
pub struct GetInvoice {
    /// Its number.
    pub number: String,
}

/// A document: the answer to [`GetInvoice`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Samples.Invoicing:InvoiceDocument")]
pub struct InvoiceDocument {
    /// The invoice.
    pub invoice_id: Uuid,
    /// Its number.
    pub number: String,
    /// Name of the customer.
    pub customer: String,
    /// Amount, in cents.
    pub amount_cents: u64,
}

impl From<&CreateInvoice> for InvoiceCreated {
    fn from(command: &CreateInvoice) -> Self {
        Self {
            invoice_id: command.invoice_id,
            number: command.number.clone(),
            amount_cents: command.amount_cents,
            prepaid: command.prepaid,
        }
    }
}

impl From<&CreateInvoice> for InvoiceDocument {
    fn from(command: &CreateInvoice) -> Self {
        Self {
            invoice_id: command.invoice_id,
            number: command.number.clone(),
            customer: command.customer.clone(),
            amount_cents: command.amount_cents,
        }
    }
}

/// The other answer to [`GetInvoice`]: an answer like any, not an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Samples.Invoicing:InvoiceUnknown")]
pub struct InvoiceUnknown {
    /// The number that is unknown.
    pub number: String,
}

/// A measurement: the next one makes it worthless, so that losing one is better than handling one twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Samples.Warehouse:TemperatureReading")]
pub struct TemperatureReading {
    /// Number of the reading.
    pub reading: u32,
    /// Temperature, in degrees Celsius.
    pub celsius: f64,
}
