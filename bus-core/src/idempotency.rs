//! Remembering what was done: the store behind idempotent consumers.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::headers::Headers;
use crate::pause::from_now;

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
/// use bus_core::{Begin, IdempotencyStore, StoreError};
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

/// Remembers in the memory of the process: duplicates that reach another instance are not recognized.
///
/// Bounded: beyond its capacity the oldest done keys are forgotten early. Follows tokio's clock.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Begin, IdempotencyStore, MemoryIdempotencyStore};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bus_core::StoreError> {
/// let store = MemoryIdempotencyStore::new();
/// let lease = Duration::from_secs(30);
/// let Begin::Fresh(token) = store.begin("invoice-7", Uuid::nil(), lease).await? else { panic!("new key") };
/// assert_eq!(store.begin("invoice-7", Uuid::nil(), lease).await?, Begin::InProgress);
/// store.complete(&token, Vec::new(), lease).await?;
/// assert_eq!(store.begin("invoice-7", Uuid::nil(), lease).await?, Begin::Done(Vec::new()));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct MemoryIdempotencyStore {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, Entry>,
    /// Done keys, oldest first, each with the claim that completed it.
    done: VecDeque<Token>,
}

#[derive(Debug)]
struct Entry {
    fingerprint: Uuid,
    claim: Uuid,
    /// None: without end.
    until: Option<Instant>,
    replies: Option<Vec<StoredReply>>,
}

impl Entry {
    fn lasts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl MemoryIdempotencyStore {
    /// A store for 100,000 done keys.
    pub fn new() -> Self {
        Self::with_capacity(100_000)
    }

    /// A store for this many done keys, at least one. Keys in progress come on top.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::default(),
        }
    }

    /// How many keys are known, expired ones excluded.
    pub fn len(&self) -> usize {
        let mut state = self.state();
        state.forget_expired(Instant::now());
        state.entries.len()
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryIdempotencyStore {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn forget_expired(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.lasts(now));
        let entries = &self.entries;
        self.done.retain(|token| {
            entries
                .get(&token.key)
                .is_some_and(|entry| entry.claim == token.claim)
        });
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.done.pop_front() else {
            return;
        };
        if self
            .entries
            .get(&oldest.key)
            .is_some_and(|entry| entry.claim == oldest.claim)
        {
            self.entries.remove(&oldest.key);
        }
    }

    fn claimed(&mut self, token: &Token) -> Option<&mut Entry> {
        self.entries
            .get_mut(&token.key)
            .filter(|entry| entry.claim == token.claim && entry.replies.is_none())
    }
}

#[async_trait]
impl IdempotencyStore for MemoryIdempotencyStore {
    async fn begin(
        &self,
        key: &str,
        fingerprint: Uuid,
        lease: Duration,
    ) -> Result<Begin, StoreError> {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(entry) = state.entries.get(key).filter(|entry| entry.lasts(now)) {
            return Ok(match &entry.replies {
                _ if entry.fingerprint != fingerprint => Begin::Mismatch,
                Some(replies) => Begin::Done(replies.clone()),
                None => Begin::InProgress,
            });
        }
        let token = Token::new(key);
        let entry = Entry {
            fingerprint,
            claim: token.claim,
            until: from_now(lease),
            replies: None,
        };
        state.entries.insert(token.key.clone(), entry);
        Ok(Begin::Fresh(token))
    }

    async fn extend(&self, token: &Token, lease: Duration) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(entry) = state.claimed(token) else {
            return Ok(false);
        };
        entry.until = from_now(lease);
        Ok(true)
    }

    async fn complete(
        &self,
        token: &Token,
        replies: Vec<StoredReply>,
        keep: Duration,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let now = Instant::now();
        let Some(entry) = state.claimed(token) else {
            return Ok(false);
        };
        entry.replies = Some(replies);
        entry.until = from_now(keep);
        state.done.push_back(token.clone());
        if state.done.len() > self.capacity {
            state.forget_oldest();
        }
        // The oldest done keys expire first wherever all are kept equally long; the capacity bounds the rest.
        while let Some(oldest) = state.done.front() {
            match state.entries.get(&oldest.key) {
                Some(entry) if entry.claim == oldest.claim && entry.lasts(now) => break,
                _ => state.forget_oldest(),
            }
        }
        Ok(true)
    }

    async fn release(&self, token: &Token) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.claimed(token).is_some() {
            state.entries.remove(&token.key);
        }
        Ok(())
    }
}
