use bus_core::{ConsumeContext, ConsumeResult, Consumer, Endpoint, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPlaced")]
struct OrderPlaced {
    number: u32,
}

struct Orders;

impl Consumer<OrderPlaced> for Orders {
    async fn consume(&self, _: ConsumeContext<OrderPlaced>) -> ConsumeResult {
        Ok(())
    }
}

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
struct OrderPaid {
    number: u32,
}

impl Consumer<OrderPaid> for Orders {
    async fn consume(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        Ok(())
    }
}

fn main() {
    let _ = Endpoint::new("orders").consumer(Orders);
}
