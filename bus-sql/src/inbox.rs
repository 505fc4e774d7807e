//! The key by which the inbox recognizes a message.

use bus_core::ConsumeContext;
use uuid::Uuid;

use crate::bounded;
use crate::settings::Settings;
use crate::store::InboxKey;

/// Header that names the idempotency key of a message, where its sender sets one.
const KEY_HEADER: &str = "Idempotency-Key";

/// The key of a message: that of its type, else of its header, else its id.
pub(crate) fn key(settings: &Settings, ctx: &ConsumeContext) -> Option<InboxKey> {
    let message = ctx.message();
    let of_type = settings
        .keys
        .get(&message.type_id())
        .and_then(|key| key(message));
    let header = || {
        let text = ctx.headers().text(KEY_HEADER);
        text.filter(|text| !text.trim().is_empty())
            .map(str::to_owned)
    };
    let id = || {
        let id = ctx.incoming().identity().map(str::to_owned);
        id.or_else(|| ctx.message_id().map(|id| id.to_string()))
    };
    let hash = |bytes: &[u8]| Uuid::new_v5(&Uuid::NAMESPACE_OID, bytes);
    let (key, fingerprint) = match of_type.or_else(header) {
        Some(key) => (key, hash(&ctx.envelope().message)),
        None => (id()?, Uuid::nil()),
    };
    Some(InboxKey {
        endpoint: bounded::key(ctx.endpoint()).into_owned(),
        key: bounded::key(&key).into_owned(),
        fingerprint,
    })
}
