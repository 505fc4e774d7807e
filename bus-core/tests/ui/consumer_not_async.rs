use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPlaced")]
struct OrderPlaced {
    number: u32,
}

fn place(_: ConsumeContext<OrderPlaced>) -> ConsumeResult {
    Ok(())
}

fn main() {
    let _ = Endpoint::new("orders").consumer(place);
}
