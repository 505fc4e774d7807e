//! What only the store in memory has.

use std::time::Duration;

use bus_core::idempotency::{Begin, IdempotencyStore, MemoryIdempotencyStore, StoreError};
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(600);

async fn handle(store: &MemoryIdempotencyStore, key: &str) -> Result<(), StoreError> {
    let begun = store.begin(key, Uuid::nil(), LONG).await?;
    let Begin::Fresh(token) = begun else {
        panic!("`{key}` is {begun:?}");
    };
    assert!(store.complete(&token, Vec::new(), LONG).await?);
    Ok(())
}

/// The store in memory is bounded: beyond its capacity it forgets the oldest done keys, never one in progress.
#[tokio::test]
async fn the_store_in_memory_is_bounded() {
    let store = MemoryIdempotencyStore::with_capacity(3);
    let running = store.begin("running", Uuid::nil(), LONG).await.unwrap();
    assert!(matches!(running, Begin::Fresh(_)));
    for key in ["a", "b", "c", "d", "e"] {
        handle(&store, key).await.unwrap();
    }
    assert_eq!(store.len(), 4, "three done, one in progress");
    for (key, known) in [("b", false), ("c", true), ("d", true), ("e", true)] {
        let begun = store.begin(key, Uuid::nil(), LONG).await.unwrap();
        assert_eq!(begun == Begin::Done(Vec::new()), known, "{key}: {begun:?}");
    }
    let running = store.begin("running", Uuid::nil(), LONG).await.unwrap();
    assert_eq!(running, Begin::InProgress);
}

/// What the store in memory has forgotten takes no room.
#[tokio::test(start_paused = true)]
async fn the_store_in_memory_shrinks_again() {
    let store = MemoryIdempotencyStore::new();
    for number in 0..100 {
        handle(&store, &number.to_string()).await.unwrap();
    }
    assert_eq!(store.len(), 100);
    tokio::time::advance(LONG).await;
    assert!(store.is_empty());
}
