//! Idempotency store in the memory of a process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Begin, IdempotencyStore, StoreError, StoredReply, Token};

/// Idempotency store in the memory of the process.
///
/// Duplicates that reach another instance of the program are not recognized, nor those that come
/// after a restart. Bounded: beyond its capacity the oldest done keys are forgotten early. Follows
/// tokio's clock.
///
/// ```
/// use std::time::Duration;
/// use bus_core::idempotency::{Begin, IdempotencyStore, MemoryIdempotencyStore};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), bus_core::idempotency::StoreError> {
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
    /// End of the lease, or of the time to keep a done key; `None`: without end.
    until: Option<Instant>,
    replies: Option<Vec<StoredReply>>,
}

impl Entry {
    fn lasts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl MemoryIdempotencyStore {
    /// Creates a store for 100,000 done keys.
    pub fn new() -> Self {
        Self::with_capacity(100_000)
    }

    /// Creates a store for this many done keys, at least one.
    ///
    /// Keys in progress come on top. Beyond the capacity the oldest done keys are forgotten before
    /// their time: a later duplicate of theirs is handled again.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::default(),
        }
    }

    /// The number of known keys, done or in progress; expired ones are excluded.
    pub fn len(&self) -> usize {
        let mut state = self.state();
        state.forget_expired(Instant::now());
        state.entries.len()
    }

    /// Returns `true` if no key is known.
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

/// The instant that far from now; `None` if it is beyond the clock.
fn from_now(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
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
        // The oldest done keys expire first wherever all are kept equally long. The capacity bounds
        // the rest.
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
