//! Two buses: one asks, the other answers.

use std::time::{Duration, Instant};

use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint};
use bus_rabbitmq::RabbitMq;
use futures_util::StreamExt;
use futures_util::stream;

use crate::figures::{Figures, Watch};
use crate::load::Load;
use crate::message::{GetStock, Stock};

/// Where the questions go.
pub(crate) const QUEUE: &str = "stock";

async fn answer(ctx: ConsumeContext<GetStock>) -> ConsumeResult {
    let number = ctx.message().number;
    ctx.respond(&Stock { number }).await?;
    Ok(())
}

async fn answering(url: &str, asking: usize) -> Bus {
    let endpoint = Endpoint::new(QUEUE).concurrency(asking.max(16));
    let bus = Bus::builder(RabbitMq::new(url)).endpoint(endpoint.consumer(answer));
    bus.start().await.expect("the bus starts")
}

async fn asking(url: &str) -> Bus {
    let bus = Bus::builder(RabbitMq::new(url)).route::<GetStock>("queue:stock");
    bus.start().await.expect("the bus starts")
}

pub(crate) async fn request(url: &str, load: Load, count: usize) -> Figures {
    let responder = answering(url, load.asking).await;
    let requester = asking(url).await;
    let ask = |number| {
        let requester = &requester;
        async move {
            let started = Instant::now();
            let stock: Stock = requester
                .request(&GetStock { number })
                .await
                .expect("answered");
            assert_eq!(stock.number, number);
            started.elapsed()
        }
    };
    ask(0).await;
    let watch = Watch::start();
    let asked = stream::iter(0..count as u64)
        .map(ask)
        .buffer_unordered(load.asking);
    let figures = watch.stop_with(asked.collect().await);
    requester.shutdown().await.expect("stopped");
    responder.shutdown().await.expect("stopped");
    figures
}

/// Leaves a question in the queue that is never answered.
pub(crate) async fn leave_a_question(url: &str) {
    answering(url, 1).await.shutdown().await.expect("stopped");
    let requester = asking(url).await;
    let request = requester.request::<Stock>(&GetStock { number: 0 });
    let unanswered = tokio::time::timeout(Duration::from_millis(500), request).await;
    assert!(unanswered.is_err(), "it was answered");
    requester.shutdown().await.expect("stopped");
}
