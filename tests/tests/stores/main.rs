//! Every behaviour of an idempotency store on every store, stores behind a bus, and what one store has alone.

mod behind_a_bus;
mod in_memory;
mod killed;
mod redis_faults;
mod redis_settings;
mod sql;
mod starting;

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

bus_conformance::idempotency_store!(postgres, {
    let url = super::sql::postgres_database().await;
    super::sql::postgres(&url).await
});
bus_conformance::idempotency_store!(sqlite, super::sql::sqlite(&super::sql::sqlite_file()).await);

behind_a_bus::tests!(memory_behind_a_bus, {
    let store = std::sync::Arc::new(MemoryIdempotencyStore::new());
    [store.clone(), store]
});
behind_a_bus::tests!(redis_behind_a_bus, {
    let prefix = RedisServer::prefix();
    [redis_with(&prefix).await, redis_with(&prefix).await].map(std::sync::Arc::new)
});
behind_a_bus::tests!(postgres_behind_a_bus, {
    let url = crate::sql::postgres_database().await;
    [
        crate::sql::postgres(&url).await,
        crate::sql::postgres(&url).await,
    ]
    .map(std::sync::Arc::new)
});
behind_a_bus::tests!(sqlite_behind_a_bus, {
    let file = crate::sql::sqlite_file();
    [
        crate::sql::sqlite(&file).await,
        crate::sql::sqlite(&file).await,
    ]
    .map(std::sync::Arc::new)
});
