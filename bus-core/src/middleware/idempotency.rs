//! Handling a message once, however often it comes.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Middleware, Next};
use crate::context::{AnyMessage, ConsumeContext, Received, address_reply};
use crate::error::{ConsumeError, ConsumeResult};
use crate::idempotency::{Begin, IdempotencyStore, StoredReply, Token};
use crate::message::Message;
use crate::outgoing::{Intent, Parcel};
use crate::pause::Backoff;
use crate::send_error::SendErrorKind;

const DEFAULT_LEASE: Duration = Duration::from_secs(60);
const DEFAULT_KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// The header that names the key of a message, where its sender wants to.
const KEY_HEADER: &str = "Idempotency-Key";

type KeyOf = dyn Fn(&AnyMessage) -> Option<String> + Send + Sync;

/// How an endpoint recognizes duplicates.
///
/// The key is what [`by`](Self::by) says for the message's type, else the `Idempotency-Key` header, else the message
/// id; always together with the endpoint's name. A message without any of them is not deduplicated.
///
/// ```
/// use std::time::Duration;
/// use bus_core::{Idempotency, MemoryIdempotencyStore, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Invoicing:CreateInvoice")]
/// # struct CreateInvoice { number: String }
///
/// let once = Idempotency::new(MemoryIdempotencyStore::new())
///     .by(|command: &CreateInvoice| command.number.clone())
///     .keep(Duration::from_secs(7 * 24 * 60 * 60));
/// // Endpoint::new("invoices").idempotency(once)
/// # let _ = once;
/// ```
#[derive(Clone)]
#[must_use]
pub struct Idempotency {
    store: Arc<dyn IdempotencyStore>,
    keys: HashMap<TypeId, Arc<KeyOf>>,
    lease: Duration,
    keep: Duration,
}

impl Idempotency {
    /// By message id, in this store.
    pub fn new(store: impl IdempotencyStore) -> Self {
        Self::shared(Arc::new(store))
    }

    /// By message id, in a store that others use too.
    pub fn shared(store: Arc<dyn IdempotencyStore>) -> Self {
        Self {
            store,
            keys: HashMap::new(),
            lease: DEFAULT_LEASE,
            keep: DEFAULT_KEEP,
        }
    }

    /// The business key of messages of type `M`, which tells two sends of the same thing even with different ids.
    pub fn by<M: Message, K: Into<String>>(
        mut self,
        key: impl Fn(&M) -> K + Send + Sync + 'static,
    ) -> Self {
        let key_of = move |message: &AnyMessage| {
            message
                .downcast_ref::<M>()
                .map(|message| key(message).into())
        };
        self.keys.insert(TypeId::of::<M>(), Arc::new(key_of));
        self
    }

    /// How long a claim survives the crash of its owner; prolonged while the consumer runs. Default: 60 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a handled message is remembered. Default: 24 hours.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    fn key(&self, ctx: &ConsumeContext) -> Option<String> {
        let message = ctx.shared_message();
        let business = self
            .keys
            .get(&(**message).type_id())
            .and_then(|key| key(&**message));
        // What is blank names nothing: all that came with it would pass for one message.
        let said = |text: &&str| !text.trim().is_empty();
        let header = || {
            ctx.headers()
                .text(KEY_HEADER)
                .filter(said)
                .map(str::to_owned)
        };
        let id = || {
            ctx.incoming()
                .message_id
                .as_deref()
                .filter(said)
                .map(str::to_owned)
                .or_else(|| ctx.message_id().map(|id| id.to_string()))
        };
        let key = business.or_else(header).or_else(id)?;
        Some(format!("{}/{key}", ctx.endpoint()))
    }
}

impl<S: IdempotencyStore> From<S> for Idempotency {
    fn from(store: S) -> Self {
        Self::new(store)
    }
}

impl From<Arc<dyn IdempotencyStore>> for Idempotency {
    fn from(store: Arc<dyn IdempotencyStore>) -> Self {
        Self::shared(store)
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("store", &self.store)
            .field("lease", &self.lease)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

/// Runs the rest once for each key; duplicates wait, then are acknowledged, and answered if they ask.
pub(crate) struct IdempotencyStep {
    settings: Idempotency,
    without_key: AtomicU64,
}

impl IdempotencyStep {
    pub(crate) fn new(settings: Idempotency) -> Self {
        Self {
            settings,
            without_key: AtomicU64::new(0),
        }
    }

    /// Claims the key, waiting for whoever holds it and for a store that fails.
    async fn begin(&self, ctx: &ConsumeContext, key: &str) -> Result<Begin, ConsumeError> {
        let fingerprint = Uuid::new_v5(&Uuid::NAMESPACE_OID, &ctx.envelope().message);
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            match self
                .settings
                .store
                .begin(key, fingerprint, self.settings.lease)
                .await
            {
                Ok(Begin::InProgress) => {}
                Ok(begin) => return Ok(begin),
                Err(error) => {
                    tracing::warn!(endpoint = ctx.endpoint(), %error, "the message waits for the store");
                }
            }
            tokio::select! {
                biased;
                () = ctx.cancelled() => return Err(ConsumeError::cancelled()),
                () = backoff.wait() => {}
            }
        }
    }

    /// Runs the consumer and keeps the claim alive meanwhile.
    async fn run(&self, ctx: ConsumeContext, next: &Next, token: &Token) -> ConsumeResult {
        let work = next.run(ctx);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return result,
                () = tokio::time::sleep(self.settings.lease / 3) => {
                    match self.settings.store.extend(token, self.settings.lease).await {
                        Ok(true) => {}
                        Ok(false) => tracing::warn!(key = token.key, "the claim was lost; a duplicate may run"),
                        Err(error) => tracing::warn!(key = token.key, %error, "the claim could not be prolonged"),
                    }
                }
            }
        }
    }

    async fn finish(&self, ctx: &ConsumeContext, token: &Token) -> ConsumeResult {
        let replies = ctx.received().replies.take();
        let replies: Vec<StoredReply> = replies.into_iter().map(stored).collect();
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            match self
                .settings
                .store
                .complete(token, replies.clone(), self.settings.keep)
                .await
            {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    tracing::warn!(
                        key = token.key,
                        "the claim was lost before the message was marked as done"
                    );
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(key = token.key, %error, "the message waits to be marked as done");
                }
            }
            tokio::select! {
                biased;
                () = ctx.cancelled() => return Err(ConsumeError::cancelled()),
                () = backoff.wait() => {}
            }
        }
    }
}

#[async_trait]
impl Middleware for IdempotencyStep {
    async fn handle(&self, ctx: ConsumeContext, next: Next) -> ConsumeResult {
        let Some(key) = self.settings.key(&ctx) else {
            let count = self.without_key.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(
                endpoint = ctx.endpoint(),
                count,
                "a message without id or key cannot be deduplicated"
            );
            return next.run(ctx).await;
        };
        match self.begin(&ctx, &key).await? {
            Begin::Fresh(token) => {
                let claim = Claim {
                    store: Arc::clone(&self.settings.store),
                    token: Some(token.clone()),
                };
                let result = self.run(ctx.clone(), &next, &token).await;
                if result.is_ok() {
                    self.finish(&ctx, &token).await?;
                    claim.keep();
                } else {
                    claim.release().await;
                }
                result
            }
            Begin::Done(replies) => {
                tracing::debug!(endpoint = ctx.endpoint(), key, "a duplicate is ignored");
                ctx.received().mark_duplicate();
                answer(ctx.received(), replies).await
            }
            Begin::Mismatch => {
                let reason =
                    format!("the idempotency key `{key}` was used by a message with other content");
                Err(ConsumeError::permanent(reason))
            }
            Begin::InProgress => Err(ConsumeError::permanent(
                "the store has not said who owns the key",
            )),
        }
    }
}

fn stored(parcel: Parcel) -> StoredReply {
    let envelope = parcel.envelope;
    let message_types = envelope
        .message_types
        .iter()
        .map(ToString::to_string)
        .collect();
    StoredReply {
        message_types,
        message: envelope.message,
        headers: envelope.headers,
    }
}

/// Gives a duplicate request the reply of the first one, at its own address and request id.
async fn answer(received: &Received, replies: Vec<StoredReply>) -> ConsumeResult {
    let Some(address) = received
        .envelope
        .response_address
        .as_ref()
        .filter(|_| !received.site.is_tap)
    else {
        return Ok(());
    };
    let outbound = &received.site.outbound;
    for reply in replies {
        let types: Vec<_> = reply.message_types.into_iter().map(Into::into).collect();
        let mut draft = outbound.draft_of(types.into(), reply.message, Intent::Respond);
        draft.envelope.headers = reply.headers;
        received.origin().apply(&mut draft);
        draft.envelope.request_id = received.envelope.request_id;
        address_reply(&mut draft, address, &received.envelope).map_err(ConsumeError::permanent)?;
        match outbound.direct().dispatch(outbound.pack(draft)?).await {
            Err(error) if error.kind() != SendErrorKind::Unroutable => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Frees the key when the consumer failed, also when its future is dropped at shutdown.
struct Claim {
    store: Arc<dyn IdempotencyStore>,
    token: Option<Token>,
}

impl Claim {
    fn keep(mut self) {
        self.token = None;
    }

    async fn release(mut self) {
        if let Some(token) = self.token.take() {
            release(&*self.store, &token).await;
        }
    }
}

async fn release(store: &dyn IdempotencyStore, token: &Token) {
    if let Err(error) = store.release(token).await {
        tracing::warn!(key = token.key, %error, "the claim could not be released and lasts until its lease ends");
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(token) = self.token.take() else {
            return;
        };
        let store = Arc::clone(&self.store);
        // Without a runtime the lease frees the key.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { release(&*store, &token).await });
        }
    }
}
