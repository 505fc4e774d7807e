//! Settings of idempotency: handling a message once, however often it comes.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::claims::{Claims, Key};
use crate::consume::{AnyMessage, ConsumeContext};
use crate::idempotency::{IdempotencyStore, KEY_HEADER, StoreError};
use crate::message::Message;

const DEFAULT_LEASE: Duration = Duration::from_secs(60);
const DEFAULT_KEEP: Duration = Duration::from_secs(24 * 60 * 60);

type KeyOf = dyn Fn(&AnyMessage) -> Option<String> + Send + Sync;

/// Settings by which an endpoint recognizes duplicates.
///
/// The key is what [`by`](Self::by) says for the message's type, else the `Idempotency-Key` header,
/// else the message id; always together with the endpoint's name. A message with a known key and
/// other content fails; one with a known message id is a duplicate, also with other content. A
/// message without any of them is not deduplicated.
///
/// Duplicates wait for the message that is being handled. They take none of the endpoint's
/// concurrency meanwhile, but of its prefetch; with a concurrency of 1 they keep their place, and
/// so the order.
///
/// A claim that is lost while the consumer runs, as the store was away for longer than the lease,
/// is found out before anything leaves that the consumer has sent: the message goes back to its
/// queue, without a fault.
///
/// Keys come from the sender, header and message id alike: a sender that may send to the endpoint
/// can use up the key of a message that is still to come. Where senders are not trusted, take the
/// key from what they cannot choose, with `by`.
///
/// ```
/// use std::time::Duration;
/// use bus_core::idempotency::MemoryIdempotencyStore;
/// use bus_core::{Idempotency, Message};
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
    claims: Claims,
    keys: HashMap<TypeId, Arc<KeyOf>>,
}

impl Idempotency {
    /// Deduplicates by message id, in this store.
    pub fn new(store: impl IdempotencyStore) -> Self {
        Self::shared(Arc::new(store))
    }

    /// Deduplicates by message id, in a store that others use too.
    pub fn shared(store: Arc<dyn IdempotencyStore>) -> Self {
        Self {
            claims: Claims {
                store,
                lease: DEFAULT_LEASE,
                keep: DEFAULT_KEEP,
            },
            keys: HashMap::new(),
        }
    }

    /// Sets the business key of messages of type `M`.
    ///
    /// It recognizes two sends of the same thing even if their message ids differ.
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

    /// Sets the time for which a claim survives the crash of its owner.
    ///
    /// The claim is prolonged while the consumer runs. `Duration::MAX` is without end. Zero is a
    /// configuration mistake. Default: 60 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.claims.lease = lease;
        self
    }

    /// Sets the time for which a handled message is remembered.
    ///
    /// A duplicate that comes later is handled again. `Duration::MAX` is without end. Zero is a
    /// configuration mistake. Default: 24 hours.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.claims.keep = keep;
        self
    }

    /// The mistakes in the settings.
    pub(crate) fn mistakes(&self) -> impl Iterator<Item = &'static str> {
        let lease = "the lease of idempotency is zero, so no claim would last";
        let keep = "idempotency keeps handled messages for zero time, so it would know none";
        [(self.claims.lease, lease), (self.claims.keep, keep)]
            .into_iter()
            .filter_map(|(duration, mistake)| duration.is_zero().then_some(mistake))
    }

    /// Prepares the store.
    pub(crate) async fn prepare(&self) -> Result<(), StoreError> {
        self.claims.store.prepare().await
    }

    pub(super) fn claims(&self) -> &Claims {
        &self.claims
    }

    pub(super) fn key(&self, ctx: &ConsumeContext) -> Option<Key> {
        let message = ctx.shared_message();
        let business = self
            .keys
            .get(&(**message).type_id())
            .and_then(|key| key(&**message));
        // A blank key names nothing: all messages that came with it would pass for one.
        let said = |text: &&str| !text.trim().is_empty();
        let header = || {
            ctx.headers()
                .text(KEY_HEADER)
                .filter(said)
                .map(str::to_owned)
        };
        let id = || {
            ctx.incoming()
                .identity()
                .map(str::to_owned)
                .or_else(|| ctx.message_id().map(|id| id.to_string()))
        };
        let content = &ctx.envelope().message;
        let hash = |bytes: &[u8]| Uuid::new_v5(&Uuid::NAMESPACE_OID, bytes);
        let (key, fingerprint) = if let Some(key) = business.or_else(header) {
            (key, hash(content))
        } else {
            let id = id()?;
            let fingerprint = hash(id.as_bytes());
            (id, fingerprint)
        };
        Some(Key {
            name: format!("{}/{key}", ctx.endpoint()),
            fingerprint,
        })
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
            .field("store", &self.claims.store)
            .field("lease", &self.claims.lease)
            .field("keep", &self.claims.keep)
            .finish_non_exhaustive()
    }
}
