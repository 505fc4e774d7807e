//! Remembering what was done: the store behind idempotent consumers.

mod memory;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

pub use memory::MemoryIdempotencyStore;

use crate::message::Headers;

/// The header that names the key of a message, where its sender wants to.
pub(crate) const KEY_HEADER: &str = "Idempotency-Key";

/// Remembers which messages were handled, by key.
///
/// A key is absent, in progress under a lease, or done until it expires. Implementations must make
/// [`begin`](Self::begin) atomic: of racing callers with the same key exactly one gets [`Begin::Fresh`].
///
/// An answer that takes longer than ten seconds is not waited for: the call is dropped, and made again.
///
/// What a consumer does with it, step by step:
///
/// ```
/// use std::time::Duration;
/// use bus_core::idempotency::{Begin, IdempotencyStore, StoreError};
/// use uuid::Uuid;
///
/// async fn once(store: &dyn IdempotencyStore, key: &str, content: &[u8]) -> Result<bool, StoreError> {
///     let fingerprint = Uuid::new_v5(&Uuid::NAMESPACE_OID, content);
///     match store.begin(key, fingerprint, Duration::from_secs(60)).await? {
///         Begin::Fresh(claim) => {
///             // … the work; store.release(&claim) if it fails …
///             store.complete(&claim, Vec::new(), Duration::from_secs(3600)).await
///         }
///         _ => Ok(false), // somebody does it, or did it
///     }
/// }
/// ```
#[async_trait]
pub trait IdempotencyStore: Send + Sync + fmt::Debug + 'static {
    /// Claims a key for `lease`, which `Duration::MAX` makes endless. A lease that has run out counts as absent: its
    /// owner crashed.
    ///
    /// `fingerprint` identifies the content; a key that is known with another one is [`Begin::Mismatch`].
    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError>;

    /// Prolongs a claim by `lease` from now; `false` if the claim is no longer ours. Also asked before what the consumer
    /// sent leaves: it does not after a `false`.
    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError>;

    /// Marks a claimed key as done, to be remembered for `keep`, which `Duration::MAX` makes endless; `false` if the claim is no longer ours.
    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError>;

    /// Gives a claim up, so that the key is absent again. A claim that is no longer ours is left alone.
    async fn release(&self, token: &Token) -> Result<(), StoreError>;
}

/// What [`IdempotencyStore::begin`] found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Begin {
    /// Nobody has handled the key: it is ours now.
    Fresh(Token),
    /// Somebody is handling it.
    InProgress,
    /// It was handled, with these replies.
    Done(Vec<StoredReply>),
    /// The key belongs to another message.
    Mismatch,
}

/// A claim on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// The key.
    pub key: String,
    /// Tells this claim from later ones on the same key.
    pub claim: Uuid,
}

impl Token {
    /// A claim on `key` that no other claim equals.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            claim: Uuid::now_v7(),
        }
    }
}

/// A reply that a consumer gave, for the requester of a duplicate.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredReply {
    /// Its URNs.
    pub message_types: Vec<String>,
    /// The message part, encoded.
    pub message: Bytes,
    /// Its headers.
    pub headers: Headers,
}

/// The store could not answer. The delivery waits; nothing is acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("the idempotency store failed: {0}")]
pub struct StoreError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// An error with its cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}
