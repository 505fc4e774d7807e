//! Idempotency store that counts its calls, and fails as it is asked.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus_core::idempotency::{
    Begin, IdempotencyStore, MemoryIdempotencyStore, StoreError, StoredReply, Token,
};
use uuid::Uuid;

/// A store that counts, and that can be broken.
#[derive(Debug, Default)]
pub(crate) struct CountingStore {
    pub(crate) inner: MemoryIdempotencyStore,
    pub(crate) broken: AtomicBool,
    /// Cannot be prepared.
    pub(crate) unprepared: AtomicBool,
    pub(crate) prepared: AtomicU32,
    /// Never answers when a claim is to be prolonged.
    pub(crate) mute: AtomicBool,
    /// Cannot mark anything as done.
    pub(crate) forgetful: AtomicBool,
    /// So many claims are lost before they are prolonged.
    pub(crate) lost: AtomicU32,
    pub(crate) begun: AtomicU32,
    pub(crate) extended: AtomicU32,
    pub(crate) released: AtomicU32,
}

#[async_trait]
impl IdempotencyStore for CountingStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.prepared.fetch_add(1, Ordering::SeqCst);
        if self.unprepared.load(Ordering::SeqCst) {
            return Err(StoreError::new("out of order"));
        }
        Ok(())
    }

    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::new("out of order"));
        }
        self.inner.begin(key, fingerprint, lease).await
    }

    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError> {
        self.extended.fetch_add(1, Ordering::SeqCst);
        if self.mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let one_less = |lost: u32| lost.checked_sub(1);
        if self
            .lost
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
        {
            self.inner.release(token).await?;
        }
        self.inner.extend(token, lease).await
    }

    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError> {
        if self.forgetful.load(Ordering::SeqCst) {
            return Err(StoreError::new("out of paper"));
        }
        self.inner.complete(token, replies, keep).await
    }

    async fn release(&self, token: &Token) -> Result<(), StoreError> {
        self.released.fetch_add(1, Ordering::SeqCst);
        self.inner.release(token).await
    }
}
