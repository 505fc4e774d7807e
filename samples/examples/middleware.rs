//! `cargo run -p samples --example middleware`
//! Runs steps around a consumer: one reports, one refuses.
#![allow(clippy::print_stdout)]

use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Endpoint, Message, Policy};
use bus_core::{Middleware, Next, async_trait, middleware};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message("Invoicing:CreateInvoice")]
struct CreateInvoice {}

struct TenantRequired;
#[async_trait]
impl Middleware for TenantRequired {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        if ctx.header("Tenant").is_none() {
            return Err(ConsumeError::permanent("a tenant is required"));
        }
        next.run(ctx).await // on to the consumer
    }
}

async fn report(ctx: ConsumeContext, next: Next) -> ConsumeResult {
    let result = next.run(ctx).await;
    println!("the result is {result:?}");
    result
}

async fn create(_: ConsumeContext<CreateInvoice>) -> ConsumeResult {
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reporting = middleware::from_fn(report);
    let steps = Policy::new()
        .middleware(reporting)
        .middleware(TenantRequired);
    let invoicing = Endpoint::new("invoicing").policy(steps).consumer(create);
    let harness = Harness::start(|bus| bus.endpoint(invoicing)).await?;
    let command = || harness.send_to("queue:invoicing", &CreateInvoice {});
    command().header("Tenant", "north").await?;
    command().await?; // refused
    harness.quiescent().await;
    assert_eq!(harness.consumed::<CreateInvoice>().count(), 1);
    assert_eq!(harness.faulted::<CreateInvoice>().count(), 1);
    Ok(harness.shutdown().await?)
}
