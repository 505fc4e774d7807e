//! Every behaviour of an idempotency store on every store, stores behind a bus, and what one store has alone.

mod behind_a_bus;
mod in_memory;
mod killed;
mod redis_faults;
mod redis_settings;

use bus_core::idempotency::MemoryIdempotencyStore;
use bus_redis::RedisIdempotencyStore;
use bus_tests::RedisServer;

/// One more handle on the keys of a test, as another instance of its service has.
async fn redis_with(prefix: &str) -> RedisIdempotencyStore {
    let store = RedisIdempotencyStore::new(RedisServer::shared().await.url());
    store.expect("an address").prefix(prefix)
}

bus_conformance::idempotency_store!(memory, MemoryIdempotencyStore::new());
bus_conformance::idempotency_store!(redis, redis_with(&RedisServer::prefix()).await);

behind_a_bus::tests!(memory_behind_a_bus, {
    let store = std::sync::Arc::new(MemoryIdempotencyStore::new());
    [store.clone(), store]
});
behind_a_bus::tests!(redis_behind_a_bus, {
    let prefix = RedisServer::prefix();
    [redis_with(&prefix).await, redis_with(&prefix).await].map(std::sync::Arc::new)
});
