//! Claims on idempotency keys: every call of the store has a deadline.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::consume::{ConsumeContext, ReceiveContext, Waits};
use crate::error::{ConsumeError, Shown};
use crate::idempotency::{Begin, IdempotencyStore, StoreError, StoredReply, Token};

/// Time that a store has to answer.
/// The effect of a call that takes longer is found out by the next call.
const STORE_DEADLINE: Duration = Duration::from_secs(10);

/// Identity of a message in the store.
pub(super) struct Key {
    pub(super) name: String,
    /// Content of the message, which detects one key used for two messages.
    /// For a key from the message id it is the id itself: a sender that runs again may write
    /// another time of day into the same message.
    pub(super) fingerprint: Uuid,
}

/// A store, with the lease of its claims and the time for which done keys are kept.
#[derive(Clone)]
pub(crate) struct Claims {
    pub(crate) store: Arc<dyn IdempotencyStore>,
    pub(crate) lease: Duration,
    pub(crate) keep: Duration,
}

impl Claims {
    /// Claims a key, waiting for the owner of another claim and for a store that fails.
    /// Other deliveries run meanwhile.
    pub(crate) async fn begin(
        &self,
        ctx: &ConsumeContext,
        key: &Key,
    ) -> Result<Begin, ConsumeError> {
        let mut waits = waits(ctx);
        loop {
            match answered(self.store.begin(&key.name, key.fingerprint, self.lease)).await {
                Ok(Begin::InProgress) => {}
                Ok(begin) => return Ok(begin),
                Err(error) => log_failure(ctx, &error, "the message waits for the store"),
            }
            ctx.received().slot.step_aside();
            waits.next().await?;
        }
    }

    /// Prolongs a claim for as long as it is polled, beside the work.
    pub(crate) async fn keep_alive(&self, token: &Token) -> Infallible {
        let pause = (self.lease / 3).max(Duration::from_millis(1));
        loop {
            tokio::time::sleep(pause).await;
            match answered(self.store.extend(token, self.lease)).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::warn!(key = token.key, "the claim was lost; a duplicate may run");
                    return std::future::pending().await;
                }
                Err(error) => {
                    tracing::warn!(key = token.key, error = %Shown(error), "the claim could not be prolonged");
                }
            }
        }
    }

    /// Waits until the store confirms that a claim still holds, and for a whole lease.
    ///
    /// # Errors
    /// If the claim was lost: another consumer may be doing the same work.
    pub(crate) async fn confirm(
        &self,
        ctx: &ConsumeContext,
        token: &Token,
    ) -> Result<(), ConsumeError> {
        let mut waits = waits(ctx);
        loop {
            match answered(self.store.extend(token, self.lease)).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(ConsumeError::claim_lost(&token.key)),
                Err(error) => {
                    log_failure(ctx, &error, "what the consumer sent waits for the store");
                }
            }
            waits.next().await?;
        }
    }

    /// Marks the key as done.
    pub(crate) async fn complete(
        &self,
        ctx: &ConsumeContext,
        token: &Token,
        replies: Vec<StoredReply>,
    ) -> Result<(), ConsumeError> {
        let mut waits = waits(ctx);
        loop {
            match answered(self.store.complete(token, replies.clone(), self.keep)).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    let key = &token.key;
                    tracing::warn!(key, "the claim was lost before its message was done");
                    return Ok(());
                }
                Err(error) => log_failure(ctx, &error, "the message waits to be marked as done"),
            }
            waits.next().await?;
        }
    }

    async fn release(&self, token: &Token) {
        if let Err(error) = answered(self.store.release(token)).await {
            tracing::warn!(key = token.key, error = %Shown(error), "the claim could not be released and lasts until its lease ends");
        }
    }
}

async fn answered<T>(
    question: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(STORE_DEADLINE, question);
    answer.await.unwrap_or_else(|_| {
        let text = format!("no answer within {STORE_DEADLINE:?}");
        Err(StoreError::new(text))
    })
}

const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

fn waits(ctx: &ConsumeContext) -> Waits {
    Waits::new(ctx.received(), FIRST_WAIT, LONGEST_WAIT)
}

fn log_failure(ctx: &ConsumeContext, error: &StoreError, effect: &str) {
    tracing::warn!(endpoint = ctx.endpoint(), error = %Shown(error), "{effect}");
}

/// Claim on a key while its message is handled, freed when the consumer failed.
/// Also freed when the consumer's future is dropped at shutdown, but not once a message has left:
/// the next owner of the key would send it again. The lease frees it then.
pub(crate) struct Claim {
    claims: Claims,
    received: Arc<ReceiveContext>,
    token: Option<Token>,
}

impl Claim {
    pub(crate) fn new(claims: Claims, received: Arc<ReceiveContext>, token: Token) -> Self {
        Self {
            claims,
            received,
            token: Some(token),
        }
    }

    /// Ends the guard, as the work is done: the claim lasts until the key is marked.
    pub(crate) fn keep(mut self) {
        self.token = None;
    }

    pub(crate) async fn release(mut self) {
        if let Some(token) = self.released_token() {
            self.claims.release(&token).await;
        }
    }

    fn released_token(&mut self) -> Option<Token> {
        let may_have_left = self.received.progress.may_have_left();
        self.token.take().filter(|_| !may_have_left)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(token) = self.released_token() else {
            return;
        };
        let claims = self.claims.clone();
        // Without a runtime the lease frees the key.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { claims.release(&token).await });
        }
    }
}
