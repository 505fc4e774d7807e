use bus_core::{Message, Reply};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Stock:StockLevels")]
struct StockLevels {
    on_hand: u32,
}

#[derive(Reply)]
enum Answer {
    Levels(StockLevels),
    Again(StockLevels),
}

fn main() {}
