//! A service that dies of one message: `crashing-consumer QUEUE classic|quorum MAX_DELIVERIES`, on `AMQP_URL`.
//!
//! Writes a line for each number that it has handled, and aborts at number 13.

use std::io::Write;

use bus_core::topology::Queue;
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Policy};
use bus_rabbitmq::RabbitMq;
use bus_tests::contracts::Place;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [queue, kind, max_deliveries] = &arguments[..] else {
        return Err("usage: crashing-consumer QUEUE classic|quorum MAX_DELIVERIES".into());
    };
    let queue = match kind.as_str() {
        "quorum" => Queue::quorum(queue),
        _ => Queue::classic(queue),
    };
    let endpoint = Endpoint::on(queue)
        .without_subscriptions()
        .policy(Policy::new().max_deliveries(max_deliveries.parse()?))
        .consumer(async |ctx: ConsumeContext<Place>| -> ConsumeResult {
            let number = ctx.message().number;
            if number == 13 {
                std::process::abort();
            }
            writeln!(std::io::stdout(), "{number}")?;
            Ok(())
        });
    let bus = Bus::builder(RabbitMq::new(std::env::var("AMQP_URL")?)).endpoint(endpoint);
    let _running = bus.start().await?;
    // Until it is killed.
    std::future::pending().await
}
