//! What middleware gives to what runs inside of it, through the context.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bus_core::send::{Dispatch, SealedMessage};
use bus_core::{
    ConsumeContext, ConsumeResult, Endpoint, Message, Middleware, Next, Policy, Retry, SendError,
    async_trait,
};
use bus_inmemory::Harness;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Shop:OrderPlaced")]
struct OrderPlaced {
    number: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message("Shop:OrderPaid")]
struct OrderPaid {
    number: u32,
}

struct Tenant(&'static str);

/// Adds a tenant.
struct Named(&'static str);

#[async_trait]
impl Middleware for Named {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        next.run(ctx.with_extension(Tenant(self.0))).await
    }
}

/// Messages that were kept instead of sent.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Option<Uuid>>>);

#[async_trait]
impl Dispatch for Kept {
    async fn dispatch(self: Arc<Self>, sealed: SealedMessage) -> Result<(), SendError> {
        let mut kept = self.0.lock().expect("no panic");
        kept.push(sealed.envelope.message_id);
        Ok(())
    }
}

/// Keeps what the consumer sends while it is on.
#[derive(Clone, Default)]
struct Keeping {
    kept: Arc<Kept>,
    is_on: Arc<AtomicBool>,
}

#[async_trait]
impl Middleware for Keeping {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        let kept = Arc::clone(&self.kept) as Arc<dyn Dispatch>;
        let inner = if self.is_on.load(Ordering::SeqCst) {
            ctx.with_dispatch(kept).with_extension(Tenant("kept"))
        } else {
            ctx.clone()
        };
        next.run(inner).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_nearest_middleware_added_is_seen_in_each_attempt() -> Outcome {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |seen: Arc<Mutex<Vec<_>>>, ctx: ConsumeContext<OrderPlaced>| async move {
        let tenant = ctx.extension::<Tenant>().map(|tenant| tenant.0);
        seen.lock().expect("no panic").push((
            ctx.attempt(),
            tenant,
            ctx.extension::<u32>().copied(),
        ));
        ConsumeResult::Err("again".into())
    };
    let policy = Policy::new()
        .retry(Retry::immediate(1))
        .middleware(Named("outer"))
        .middleware(Named("inner"));
    let endpoint = Endpoint::new("orders").policy(policy);
    let endpoint = endpoint.consumer_with(Arc::clone(&seen), note);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    harness.publish(&OrderPlaced { number: 1 }).await?;
    harness.quiescent().await;
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!(
        seen,
        [(1, Some("inner"), None), (2, Some("inner"), None)],
        "in both attempts, by type"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_replaced_dispatch_gets_what_would_be_sent_with_the_same_ids() -> Outcome {
    let keeping = Keeping::default();
    let pay = |ctx: ConsumeContext<OrderPlaced>| async move {
        for number in 0..2 {
            ctx.publish(&OrderPaid { number }).await?;
        }
        Ok::<(), SendError>(())
    };
    let policy = Policy::new().around_attempt(keeping.clone());
    let endpoint = Endpoint::new("orders").policy(policy).consumer(pay);
    let harness = Harness::start(|bus| bus.endpoint(endpoint)).await?;
    let order = || {
        let sending = harness.publish(&OrderPlaced { number: 1 });
        sending.message_id(Uuid::from_u128(7))
    };
    order().await?;
    harness.quiescent().await;
    let published = harness.published::<OrderPaid>().all();
    let ids = published.iter().map(|one| one.envelope().message_id);
    let sent: Vec<_> = ids.collect();
    assert_eq!(sent.len(), 2);
    keeping.is_on.store(true, Ordering::SeqCst);
    order().await?;
    harness.quiescent().await;
    assert_eq!(harness.published::<OrderPaid>().count(), 2, "none more");
    assert_eq!(*keeping.kept.0.lock().expect("no panic"), sent);
    Ok(())
}
