use bus_core::consume::consumers;
use bus_core::{ConsumeContext, ConsumeResult, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
struct OrderPaid {}

struct Shipping;

#[consumers]
impl Shipping {
    async fn pay(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        Ok(())
    }

    async fn ship(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        Ok(())
    }
}

fn main() {}
