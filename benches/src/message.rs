//! The messages of the loads.

use bus_core::Message;
use serde::{Deserialize, Serialize};

/// An event whose envelope has about 1000 bytes, without the text.
#[derive(Clone, Serialize, Deserialize, Message)]
#[message("Bench.Orders:OrderPlaced")]
pub(crate) struct OrderPlaced {
    pub(crate) number: u64,
    customer: String,
    lines: Vec<Line>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
}

/// What a consumer in a transaction publishes.
#[derive(Serialize, Deserialize, Message)]
#[message("Bench.Orders:OrderBilled")]
pub(crate) struct OrderBilled {
    number: u64,
}

impl OrderBilled {
    pub(crate) fn new(number: u64) -> Self {
        Self { number }
    }
}

#[derive(Serialize, Deserialize, Message)]
#[message("Bench.Orders:GetStock")]
pub(crate) struct GetStock {
    pub(crate) number: u64,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Bench.Orders:Stock")]
pub(crate) struct Stock {
    pub(crate) number: u64,
}

impl OrderPlaced {
    pub(crate) fn new(number: u64, text: usize) -> Self {
        let line = |sku: &str| Line {
            sku: sku.to_owned(),
            quantity: 3,
        };
        Self {
            number,
            customer: "Acme Trading Company".to_owned(),
            lines: vec![line("A-1007"), line("B-2009"), line("C-3011")],
            text: "x".repeat(text),
        }
    }
}
