//! `interop-service AMQP_URL`: the Rust side of a test that kills it. It speaks the protocol of `tests/interop/`: reports
//! each `OrderShipped` that it consumes on `rs-shipped`, publishes the `OrderSubmitted` that it is told to.

use std::io::Write;

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint};
use bus_rabbitmq::RabbitMq;
use bus_tests::acme::{OrderShipped, OrderSubmitted};
use bus_tests::peer::Consumed;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("say which broker")?;
    let bus = Bus::builder(RabbitMq::new(url))
        .endpoint(Endpoint::new("rs-shipped").consumer(report))
        .start()
        .await?;
    say(&json!({ "event": "started", "address": format!("{bus:?}") }))?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line)?;
        tokio::spawn(publish(bus.clone(), command));
    }
    bus.shutdown().await?;
    Ok(())
}

async fn report(ctx: ConsumeContext<OrderShipped>) -> ConsumeResult {
    let mut event = serde_json::to_value(Consumed::of(&ctx))?;
    event["event"] = "consumed".into();
    say(&event)?;
    Ok(())
}

async fn publish(bus: Bus, mut command: Value) -> Result<(), Failure> {
    let id = command["id"].take();
    let event: OrderSubmitted = serde_json::from_value(command["message"].take())?;
    let end = match bus.publish(&event).await {
        Ok(()) => json!({ "event": "done", "id": id }),
        Err(error) => {
            json!({ "event": "error", "id": id, "error": "SendError", "text": error.to_string() })
        }
    };
    say(&end)?;
    Ok(())
}

/// One line at a time, whole.
fn say(event: &Value) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{event}")?;
    output.flush()
}
