use bus_core::{ConsumeContext, Endpoint, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPlaced")]
struct OrderPlaced {
    number: u32,
}

async fn place(_: ConsumeContext<OrderPlaced>) {}

fn main() {
    let _ = Endpoint::new("orders").consumer(place);
}
