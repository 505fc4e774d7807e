//! The forms in which a consumer is written, and in which a reply is received.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bus_core::consume::consumers;
use bus_core::{
    ConsumeContext, ConsumeError, ConsumeResult, Consumer, Endpoint, Message, Reply, RequestError,
    SendError, queue,
};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Shop:OrderPlaced")]
struct OrderPlaced {
    number: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
struct OrderPaid {
    number: u32,
}

#[derive(Serialize, Deserialize, Message)]
#[message("Shop:CheckStock")]
struct CheckStock {
    sku: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Shop:StockLevels")]
struct StockLevels {
    on_hand: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Message)]
#[message("Shop:SkuUnknown")]
struct SkuUnknown {
    sku: String,
}

#[derive(Debug, PartialEq, Reply)]
enum StockAnswer {
    Levels(StockLevels),
    Unknown(SkuUnknown),
}

/// Consumes two messages with one state.
#[derive(Default)]
struct Shipping {
    seen: AtomicUsize,
}

impl Consumer<OrderPlaced> for Shipping {
    async fn consume(&self, _: ConsumeContext<OrderPlaced>) -> ConsumeResult {
        self.seen.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Consumer<OrderPaid> for Shipping {
    async fn consume(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        self.seen.fetch_add(10, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn one_instance_consumes_several_messages() -> Outcome {
    let shipping = Arc::new(Shipping::default());
    let endpoint = Endpoint::new("shipping")
        .consumer::<OrderPlaced, _>(Arc::clone(&shipping))
        .consumer::<OrderPaid, _>(Arc::clone(&shipping));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    harness.publish(&OrderPlaced { number: 1 }).await?;
    harness.publish(&OrderPaid { number: 1 }).await?;
    harness.quiescent().await;
    assert_eq!(shipping.seen.load(Ordering::SeqCst), 11);
    Ok(())
}

#[derive(Default)]
struct Accounts {
    seen: AtomicUsize,
}

#[consumers]
impl Accounts {
    async fn place(&self, ctx: ConsumeContext<OrderPlaced>) -> Result<(), SendError> {
        self.seen.fetch_add(1, Ordering::SeqCst);
        let number = ctx.message().number;
        ctx.publish(&OrderPaid { number }).await
    }

    async fn pay(&self, _: ConsumeContext<OrderPaid>) -> ConsumeResult {
        self.seen.fetch_add(10, Ordering::SeqCst);
        Ok(())
    }

    #[cfg(any())]
    async fn never(&self, _: ConsumeContext<Missing>) -> ConsumeResult {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_method_consumes_its_message() -> Outcome {
    let accounts = Arc::new(Accounts::default());
    let endpoint = Endpoint::new("accounts").consumers(Arc::clone(&accounts));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    harness.publish(&OrderPlaced { number: 1 }).await?;
    harness.quiescent().await;
    assert_eq!(accounts.seen.load(Ordering::SeqCst), 11);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_method_is_one_consumer_too() -> Outcome {
    let endpoint = Endpoint::new("payments").consumer::<OrderPaid, _>(Accounts::default());
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    harness.publish(&OrderPlaced { number: 1 }).await?;
    harness.publish(&OrderPaid { number: 1 }).await?;
    harness.quiescent().await;
    assert!(harness.consumed::<OrderPlaced>().none());
    assert_eq!(harness.consumed::<OrderPaid>().count(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_function_gets_its_state() -> Outcome {
    async fn count(
        seen: Arc<AtomicUsize>,
        ctx: ConsumeContext<OrderPlaced>,
    ) -> Result<(), SendError> {
        seen.fetch_add(1, Ordering::SeqCst);
        let number = ctx.message().number;
        ctx.publish(&OrderPaid { number }).await
    }
    let seen = Arc::new(AtomicUsize::new(0));
    let endpoint = Endpoint::new("counting").consumer_with(Arc::clone(&seen), count);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    harness.publish(&OrderPlaced { number: 7 }).await?;
    harness.quiescent().await;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    let paid = harness.published::<OrderPaid>();
    assert_eq!(paid.only(), OrderPaid { number: 7 });
    Ok(())
}

/// An error of a user's own that decides whether it is worth a retry.
#[derive(Debug)]
struct OutOfStock;

impl fmt::Display for OutOfStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of stock")
    }
}

impl From<OutOfStock> for ConsumeError {
    fn from(error: OutOfStock) -> Self {
        Self::permanent(error.to_string())
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_returns_an_error_of_its_own() -> Outcome {
    let endpoint = Endpoint::new("warehouse")
        .consumer(async |_: ConsumeContext<OrderPlaced>| Err::<(), _>(OutOfStock));
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    harness.publish(&OrderPlaced { number: 1 }).await?;
    let failed = harness.faulted::<OrderPlaced>().wait().await?;
    assert_eq!(failed.error(), Some("out of stock"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_closure_sends_is_its_outcome() -> Outcome {
    let forward = async |ctx: ConsumeContext<OrderPlaced>| {
        let number = ctx.message().number;
        ctx.send_to(queue("paid"), &OrderPaid { number }).await
    };
    let paid = async |_: ConsumeContext<OrderPaid>| ConsumeResult::Ok(());
    let harness = Harness::start(|bus| {
        bus.endpoint(Endpoint::new("placed").consumer(forward))
            .endpoint(Endpoint::new("paid").consumer(paid))
    });
    let harness = harness.await?;
    let placed = OrderPlaced { number: 7 };
    harness.send_to(queue("placed"), &placed).await?;
    harness.quiescent().await;
    let consumed = harness.consumed::<OrderPaid>();
    assert_eq!(consumed.only(), OrderPaid { number: 7 });
    Ok(())
}

async fn stock(ctx: ConsumeContext<CheckStock>) -> Result<(), SendError> {
    match ctx.message().sku.as_str() {
        "A-7" => ctx.respond(&StockLevels { on_hand: 3 }).await,
        "odd" => ctx.respond(&OrderPaid { number: 0 }).await,
        sku => {
            ctx.respond(&SkuUnknown {
                sku: sku.to_owned(),
            })
            .await
        }
    }
}

#[tokio::test(start_paused = true)]
async fn replies_have_the_names_of_their_variants() -> Outcome {
    let harness =
        Harness::start(|bus| bus.endpoint(Endpoint::new("stock").consumer(stock))).await?;
    let ask = async |sku: &str| -> Result<StockAnswer, RequestError> {
        let sku = sku.to_owned();
        harness.bus().request(&CheckStock { sku }).await
    };
    let levels = StockLevels { on_hand: 3 };
    assert_eq!(ask("A-7").await?, StockAnswer::Levels(levels));
    let unknown = SkuUnknown {
        sku: "B-1".to_owned(),
    };
    assert_eq!(ask("B-1").await?, StockAnswer::Unknown(unknown));
    let Err(RequestError::UnexpectedReply { replied, accepted }) = ask("odd").await else {
        panic!("no variant holds it");
    };
    assert_eq!(replied, ["urn:message:Shop:OrderPaid"]);
    assert_eq!(accepted, ["Shop:StockLevels", "Shop:SkuUnknown"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "exactly one was expected, not 2")]
async fn two_are_not_the_only_one() {
    let harness = Harness::start(|bus| bus).await.expect("it starts");
    for number in [1, 2] {
        let published = harness.publish(&OrderPlaced { number }).await;
        published.expect("it is published");
    }
    harness.published::<OrderPlaced>().only();
}
