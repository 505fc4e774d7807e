use bus_core::consume::consumers;
use bus_core::{ConsumeContext, ConsumeResult, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
struct OrderPaid {}

struct Shipping;

#[consumers]
impl Shipping {
    fn not_async(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        Ok(())
    }

    async fn without_a_context(&self) -> ConsumeResult {
        Ok(())
    }

    async fn of_a_bare_message(&self, _: OrderPaid) -> ConsumeResult {
        Ok(())
    }

    async fn of_a_borrowed_context(&self, _: &ConsumeContext<OrderPaid>) -> ConsumeResult {
        Ok(())
    }

    async fn exclusive(&mut self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        Ok(())
    }

    async fn without_a_result(&self, _: ConsumeContext<OrderPaid>) {}
}

fn main() {}
