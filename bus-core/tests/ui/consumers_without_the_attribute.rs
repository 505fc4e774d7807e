use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
struct OrderPaid {}

struct Shipping;

impl Shipping {
    async fn ship(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        Ok(())
    }
}

fn main() {
    let _ = Endpoint::new("shipping").consumers(Shipping);
}
