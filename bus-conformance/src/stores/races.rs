//! Many callers at once, and calls that are dropped.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bus_core::idempotency::{Begin, IdempotencyStore};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::steps::{FINGERPRINT, LONG, SHORT, begin, claim, key, take_over};
use crate::support::{Outcome, until};

/// Claims a key this many times at once; how many were fresh.
async fn race(store: &dyn IdempotencyStore, key: &str) -> Outcome<usize> {
    let mut fresh = 0;
    for begun in join_all((0..32).map(|_| begin(store, key, LONG))).await {
        match begun? {
            Begin::Fresh(_) => fresh += 1,
            Begin::InProgress => {}
            other => return Err(format!("`{key}` is {other:?}").into()),
        }
    }
    Ok(fresh)
}

/// Of many who claim a key at once exactly one gets it.
pub(super) async fn of_racing_claims_one_is_fresh(store: &dyn IdempotencyStore) -> Outcome {
    for _ in 0..10 {
        assert_eq!(race(store, &key()).await?, 1);
    }
    Ok(())
}

/// Of many who take over an expired claim at once exactly one gets it.
pub(super) async fn of_racing_claims_on_an_expired_lease_one_is_fresh(
    store: &dyn IdempotencyStore,
) -> Outcome {
    let key = key();
    claim(store, &key, SHORT).await?;
    let fresh = until("the lease runs out", || async {
        Some(race(store, &key).await).filter(|fresh| !matches!(fresh, Ok(0)))
    });
    assert_eq!(fresh.await?, 1);
    Ok(())
}

/// Handles a message as an endpoint does: the effect is a count.
async fn handle(store: &dyn IdempotencyStore, key: &str, effects: &AtomicU32) -> Outcome {
    let token = until("the key is done or free", || async {
        match begin(store, key, LONG).await {
            Ok(Begin::InProgress) => None,
            begun => Some(begun),
        }
    });
    match token.await? {
        Begin::Fresh(token) => {
            effects.fetch_add(1, Ordering::SeqCst);
            assert!(store.complete(&token, Vec::new(), LONG).await?);
        }
        Begin::Done(_) => {}
        other => return Err(format!("`{key}` is {other:?}").into()),
    }
    Ok(())
}

/// Three duplicates that come at once have one effect, in each of a hundred rounds.
pub(super) async fn racing_duplicates_have_one_effect(store: &dyn IdempotencyStore) -> Outcome {
    for round in 1..=100 {
        let (key, effects) = (key(), AtomicU32::new(0));
        for outcome in join_all((0..3).map(|_| handle(store, &key, &effects))).await {
            outcome?;
        }
        assert_eq!(effects.into_inner(), 1, "round {round}");
    }
    Ok(())
}

/// More keys at once than a store has connections are all handled.
pub(super) async fn many_keys_are_handled_at_once(store: &dyn IdempotencyStore) -> Outcome {
    let keys: Vec<_> = (0..200).map(|_| key()).collect();
    let effects = AtomicU32::new(0);
    for outcome in join_all(keys.iter().map(|key| handle(store, key, &effects))).await {
        outcome?;
    }
    assert_eq!(effects.into_inner(), 200);
    Ok(())
}

/// A call that is dropped at any point harms neither the store nor its key.
///
/// The bus drops calls that take too long, and those of consumers that stop.
pub(super) async fn a_dropped_call_breaks_nothing(store: &dyn IdempotencyStore) -> Outcome {
    let mut dropped = Vec::new();
    for step in 0..50 {
        let patience = Duration::from_micros(step * 40);
        let (key, token) = (key(), claim(store, &key(), SHORT).await?);
        let _ = timeout(patience, store.begin(&key, FINGERPRINT, SHORT)).await;
        let _ = timeout(patience, store.extend(&token, SHORT)).await;
        let _ = timeout(patience, store.release(&token)).await;
        dropped.extend([key, token.key]);
    }
    for key in dropped {
        let token = take_over(store, &key).await?;
        let patience = Duration::from_micros(500);
        let _ = timeout(patience, store.complete(&token, Vec::new(), LONG)).await;
    }
    many_keys_are_handled_at_once(store).await
}
