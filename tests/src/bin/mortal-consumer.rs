//! A service that kills itself: `mortal-consumer QUEUE memory|redis PREFIX POINT`, on `AMQP_URL` and `REDIS_URL`.
//!
//! Writes the number of each message as its effect. Dies at POINT, which is `claimed` (before the effect), `effect`
//! (before the key is marked as done), `marked` (before the message is acknowledged) or `never`, as a `Point` is written.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus_core::idempotency::{
    Begin, IdempotencyStore, MemoryIdempotencyStore, StoreError, StoredReply, Token,
};
use bus_core::{Bus, ConsumeContext, ConsumeResult, Endpoint, Idempotency};
use bus_rabbitmq::RabbitMq;
use bus_redis::RedisIdempotencyStore;
use bus_tests::contracts::Place;
use bus_tests::mortal::Point;
use uuid::Uuid;

/// A store around which a process dies.
#[derive(Debug)]
struct Mortal {
    inner: Arc<dyn IdempotencyStore>,
    point: Arc<Point>,
}

#[async_trait]
impl IdempotencyStore for Mortal {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.inner.prepare().await
    }

    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError> {
        let begun = self.inner.begin(key, fingerprint, lease).await?;
        if matches!(begun, Begin::Fresh(_)) {
            self.point.reach("claimed");
        }
        Ok(begun)
    }

    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError> {
        self.inner.extend(token, lease).await
    }

    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError> {
        let completed = self.inner.complete(token, replies, keep).await?;
        self.point.reach("marked");
        Ok(completed)
    }

    async fn release(&self, token: &Token) -> Result<(), StoreError> {
        self.inner.release(token).await
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [queue, store, prefix, point] = &arguments[..] else {
        return Err("usage: mortal-consumer QUEUE memory|redis PREFIX POINT".into());
    };
    let inner: Arc<dyn IdempotencyStore> = match store.as_str() {
        "redis" => {
            let store = RedisIdempotencyStore::new(&std::env::var("REDIS_URL")?)?;
            Arc::new(store.prefix(prefix))
        }
        _ => Arc::new(MemoryIdempotencyStore::new()),
    };
    let point: Arc<Point> = Arc::new(point.parse()?);
    let store = Mortal {
        inner,
        point: Arc::clone(&point),
    };
    let consumer = move |ctx: ConsumeContext<Place>| {
        let outcome = writeln!(std::io::stdout(), "{}", ctx.message().number);
        point.reach("effect");
        async move { ConsumeResult::Ok(outcome?) }
    };
    let endpoint = Endpoint::new(queue)
        .concurrency(1)
        .without_subscriptions()
        .idempotency(Idempotency::new(store).lease(Duration::from_secs(1)))
        .consumer(consumer);
    let bus = Bus::builder(RabbitMq::new(std::env::var("AMQP_URL")?)).endpoint(endpoint);
    let _running = bus.start().await?;
    // Until it is killed.
    std::future::pending().await
}
