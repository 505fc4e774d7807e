//! Steps that the behaviours of stores share.

use std::time::Duration;

use bus_core::idempotency::{Begin, IdempotencyStore, Token};
use uuid::Uuid;

use crate::support::{Outcome, until};

/// Longer than any case takes.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// Over before a case looks, but not zero: a store may round.
pub(super) const SHORT: Duration = Duration::from_millis(20);

pub(super) const FINGERPRINT: Uuid = Uuid::from_u128(7);

pub(super) fn key() -> String {
    format!("orders/{}", Uuid::new_v4())
}

pub(super) async fn begin(
    store: &dyn IdempotencyStore,
    key: &str,
    lease: Duration,
) -> Outcome<Begin> {
    Ok(store.begin(key, FINGERPRINT, lease).await?)
}

/// Claims a key that must be free.
pub(super) async fn claim(
    store: &dyn IdempotencyStore,
    key: &str,
    lease: Duration,
) -> Outcome<Token> {
    match begin(store, key, lease).await? {
        Begin::Fresh(token) => Ok(token),
        other => Err(format!("`{key}` must be fresh, but is {other:?}").into()),
    }
}

/// Claims a key as soon as its lease has run out; the claim before it is lost then.
pub(super) async fn take_over(store: &dyn IdempotencyStore, key: &str) -> Outcome<Token> {
    let begun = until("the lease runs out", || async {
        let begun = begin(store, key, LONG).await;
        Some(begun).filter(|begun| !matches!(begun, Ok(Begin::InProgress)))
    });
    match begun.await? {
        Begin::Fresh(token) => Ok(token),
        other => Err(format!("`{key}` is {other:?}").into()),
    }
}
