use bus_core::consume::consumers;
use bus_core::{ConsumeContext, ConsumeResult, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
struct OrderPaid {}

struct Shipping;

#[consumers]
impl Shipping {}

#[consumers]
struct Orders;

#[consumers]
impl Clone for Shipping {
    fn clone(&self) -> Self {
        Self
    }
}

fn main() {}
