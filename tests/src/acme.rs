//! The contracts of the captured .NET service, as a Rust service shares them.

use std::collections::BTreeMap;

use bus_core::Message;
use bus_core::serde_helpers::{Base64, DateTime, Decimal, TimeSpan};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A command with every kind of value that a contract usually carries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase", default)]
#[message("Acme.Orders:SubmitOrder")]
pub struct SubmitOrder {
    /// A GUID.
    pub order_id: Uuid,
    /// Text.
    pub order_number: String,
    /// A decimal, which travels as text.
    pub total: Decimal,
    /// A date in UTC.
    pub submitted_at: Option<DateTime>,
    /// A date with an offset.
    pub due_at: Option<DateTime>,
    /// An enum, which travels as a number.
    pub kind: i32,
    /// Objects in a list.
    pub lines: Vec<OrderLine>,
    /// A dictionary.
    pub tags: BTreeMap<String, String>,
    /// Text that may be null.
    pub note: Option<String>,
    /// A span of time.
    pub patience: Option<TimeSpan>,
    /// Bytes.
    pub signature: Option<Base64>,
    /// A number beyond 2^53.
    pub big: i64,
    /// A floating point number.
    pub ratio: f64,
    /// A truth value.
    pub urgent: bool,
    /// A URI.
    pub link: Option<String>,
}

/// One line of an order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OrderLine {
    /// What.
    pub sku: String,
    /// How many.
    pub quantity: i32,
    /// For how much each.
    pub unit_price: Decimal,
}

/// The base contract of all events of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Acme.Orders:OrderEvent", correlation = "correlation_id")]
pub struct OrderEvent {
    /// The order.
    pub correlation_id: Uuid,
    /// Its number.
    pub order_number: String,
}

/// Another base contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Acme.Orders:Audited")]
pub struct Audited {
    /// Who did it.
    pub user: Option<String>,
}

/// An event with two base contracts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message(
    "Acme.Orders:OrderSubmitted",
    implements("Acme.Orders:OrderEvent", "Acme.Orders:Audited"),
    correlation = "correlation_id"
)]
pub struct OrderSubmitted {
    /// The order.
    pub correlation_id: Uuid,
    /// Its number.
    pub order_number: String,
    /// Its value.
    pub total: Decimal,
    /// Who did it.
    pub user: Option<String>,
}

/// An event with one base contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message(
    "Acme.Orders:OrderShipped",
    implements("Acme.Orders:OrderEvent"),
    correlation = "correlation_id"
)]
pub struct OrderShipped {
    /// The order.
    pub correlation_id: Uuid,
    /// Its number.
    pub order_number: String,
    /// Who carries it.
    pub carrier: String,
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message("Acme.Orders:CheckStock")]
pub struct CheckStock {
    /// Of what.
    pub sku: String,
}

/// Its document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(rename_all = "camelCase")]
#[message("Acme.Orders:StockLevels")]
pub struct StockLevels {
    /// Of what.
    pub sku: String,
    /// How many.
    pub on_hand: i32,
    /// When.
    pub as_of: DateTime,
}

/// Its other answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message("Acme.Orders:SkuUnknown")]
pub struct SkuUnknown {
    /// Of what.
    pub sku: String,
}

/// A part of a generic contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Acme.Orders:Price")]
pub struct Price {
    /// How much.
    pub amount: Decimal,
    /// Of which currency.
    pub currency: String,
}

/// A generic contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[serde(bound = "T: Message")]
#[message("Acme.Orders:Changed")]
pub struct Changed<T> {
    /// What it was.
    pub before: Option<T>,
    /// What it is.
    pub after: Option<T>,
}

/// A contract nested in a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message("Acme.Orders:Api+Ping")]
pub struct Ping {
    /// Which one.
    pub number: i32,
}

/// Its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Message)]
#[message("Acme.Orders:Api+Pong")]
pub struct Pong {
    /// Which one.
    pub number: i32,
}
