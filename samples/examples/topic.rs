//! `cargo run -p samples --example topic`
//! Publishes through a topic exchange; each endpoint subscribes to a pattern of keys.
#![allow(clippy::print_stdout)]

use bus_core::topology::PublishTopology;
use bus_core::{ConsumeContext, ConsumeResult, Endpoint, Message};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Shipping:OrderShipped")]
struct OrderShipped {
    region: String,
}

async fn deliver(ctx: ConsumeContext<OrderShipped>) -> ConsumeResult {
    println!("{}: {}", ctx.endpoint(), ctx.message().region);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let by_region =
        PublishTopology::<OrderShipped>::topic().routing_key(|order| order.region.clone());
    let endpoint = |name: &str, pattern: &str| {
        Endpoint::new(name)
            .subscribe::<OrderShipped>(pattern)
            .consumer(deliver)
    };
    let harness = Harness::start(|bus| {
        bus.publish_topology(by_region)
            .endpoint(endpoint("northern-carrier", "north.#"))
            .endpoint(endpoint("city-couriers", "*.city"))
    })
    .await?;

    for region in ["north.city", "north.coast", "south.city", "south.hills"] {
        let region = region.to_owned();
        harness.publish(&OrderShipped { region }).await?;
    }
    harness.quiescent().await;

    let consumed = harness.consumed::<OrderShipped>();
    assert_eq!(consumed.clone().on("northern-carrier").count(), 2);
    assert_eq!(consumed.clone().on("city-couriers").count(), 2);
    assert!(!consumed.any(|order| order.region == "south.hills"));
    harness.shutdown().await?;
    Ok(())
}
