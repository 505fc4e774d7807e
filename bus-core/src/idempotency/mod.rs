//! Stores of idempotency keys, behind consumers that handle a message once.

mod memory;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use memory::MemoryIdempotencyStore;

use crate::message::Headers;
use crate::message::headers::typed;

/// Header that names the idempotency key of a message, where its sender sets one.
pub(crate) const KEY_HEADER: &str = "Idempotency-Key";

/// Store that remembers by key which messages were handled.
///
/// A key is absent, in progress under a lease, or done until it expires. Implementations must make
/// [`begin`](Self::begin) atomic: of racing callers with the same key exactly one gets
/// [`Begin::Fresh`].
///
/// An answer that takes longer than ten seconds is not waited for: the call is dropped, and made
/// again.
///
/// A consumer uses the store in these steps:
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
///         _ => Ok(false), // another consumer does it, or did it
///     }
/// }
/// ```
#[async_trait]
pub trait IdempotencyStore: Send + Sync + fmt::Debug + 'static {
    /// Prepares the store: makes its tables, checks its server.
    ///
    /// The bus calls it for each endpoint that uses the store, before it declares or consumes
    /// anything: a wrong address is an error of the start then, and not a message that waits. Not
    /// limited by the start timeout. Default: nothing is to be prepared.
    ///
    /// # Errors
    /// Any error ends the start, with [`StartError::Store`](crate::StartError::Store).
    async fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Claims a key for `lease`, which `Duration::MAX` makes endless.
    ///
    /// A lease that has run out counts as absent: its owner crashed. `fingerprint` identifies the
    /// content; a key that is known with another one is [`Begin::Mismatch`].
    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError>;

    /// Prolongs a claim by `lease` from now; `false` if the claim was lost.
    ///
    /// A claim is lost once its lease has run out and another claim has taken the key, or the store
    /// has dropped it. Also asked before the consumer's outgoing messages leave: after a `false`
    /// they do not.
    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError>;

    /// Marks a claimed key as done, to be remembered for `keep`.
    ///
    /// `Duration::MAX` makes that endless. Returns `false` if the claim was lost. `replies` are
    /// given to the requesters of duplicates, see [`Begin::Done`].
    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError>;

    /// Gives a claim up, so that the key is absent again.
    ///
    /// A claim that was lost is left alone: the key belongs to its new owner.
    async fn release(&self, token: &Token) -> Result<(), StoreError>;
}

/// Outcome of [`IdempotencyStore::begin`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Begin {
    /// The key was absent: the caller owns it now, under this claim.
    Fresh(Token),
    /// Another claim on the key lasts: its owner is handling the message.
    InProgress,
    /// The key is done: the message was handled, with these replies.
    Done(Vec<StoredReply>),
    /// The key is known with another fingerprint: it belongs to another message.
    Mismatch,
}

/// Claim on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Token {
    /// The claimed key.
    pub key: String,
    /// Id that distinguishes this claim from later ones on the same key.
    pub claim: Uuid,
}

impl Token {
    /// Creates a claim on `key` that no other claim equals.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            claim: Uuid::now_v7(),
        }
    }
}

/// Reply of a consumer, kept for the requester of a duplicate.
///
/// Stores keep it as JSON, in which the message is base64 text, and headers keep their kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredReply {
    /// URNs of the reply.
    pub message_types: Vec<String>,
    /// Message part of the reply, encoded.
    #[serde(with = "encoded")]
    pub message: Bytes,
    /// Headers of the reply.
    #[serde(default, with = "typed", skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
}

/// Bytes as base64 text, for `#[serde(with = "…")]`.
mod encoded {
    use base64::display::Base64Display;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::serde_helpers::Base64;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(bytes, &STANDARD))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Bytes, D::Error> {
        Base64::deserialize(deserializer).map(|bytes| bytes.0.into())
    }
}

/// Error of a store that could not answer.
///
/// The delivery waits and the store is asked again; nothing is acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("the idempotency store failed: {0}")]
pub struct StoreError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// Creates an error from its cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}
