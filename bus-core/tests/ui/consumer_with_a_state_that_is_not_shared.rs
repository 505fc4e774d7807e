use bus_core::{ConsumeContext, ConsumeResult, Consumer, Endpoint, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:OrderPlaced")]
struct OrderPlaced {
    number: u32,
}

use std::cell::Cell;

struct Orders {
    seen: Cell<u32>,
}

impl Consumer<OrderPlaced> for Orders {
    async fn consume(&self, _: ConsumeContext<OrderPlaced>) -> ConsumeResult {
        self.seen.set(self.seen.get() + 1);
        Ok(())
    }
}

fn main() {
    let _ = Endpoint::new("orders").consumer(Orders { seen: Cell::new(0) });
}
