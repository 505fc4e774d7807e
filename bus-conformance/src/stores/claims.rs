//! Claims: who has one, how long it lasts, how it is lost.

use std::time::Duration;

use bus_core::Headers;
use bus_core::idempotency::{Begin, IdempotencyStore, StoredReply, Token};
use uuid::Uuid;

use super::steps::{LONG, SHORT, begin, claim, key, take_over};
use crate::support::{Outcome, until};

/// A key that was never claimed is fresh, and its token names it.
pub(super) async fn a_new_key_is_fresh(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    assert_eq!(claim(store, &key, LONG).await?.key, key);
    Ok(())
}

/// A claimed key is in progress for all others.
pub(super) async fn a_claimed_key_is_in_progress(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    claim(store, &key, LONG).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    Ok(())
}

/// A key that was given up is fresh again, for any content.
pub(super) async fn a_released_key_is_fresh_again(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let first = claim(store, &key, LONG).await?;
    store.release(&first).await?;
    let again = store.begin(&key, Uuid::from_u128(8), LONG).await?;
    assert!(
        matches!(&again, Begin::Fresh(second) if second.claim != first.claim),
        "{again:?}"
    );
    Ok(())
}

/// A claim whose lease ran out counts as absent: its owner crashed.
pub(super) async fn a_claim_ends_with_its_lease(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let first = claim(store, &key, SHORT).await?;
    let second = take_over(store, &key).await?;
    assert_ne!(first, second);
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    Ok(())
}

/// A claim that is prolonged in time stays claimed past its first lease.
pub(super) async fn an_extended_claim_outlives_its_lease(store: &dyn IdempotencyStore) -> Outcome {
    let (key, witness) = (key(), key());
    let token = claim(store, &key, Duration::from_secs(3)).await?;
    assert!(store.extend(&token, LONG).await?, "in time");
    // A claim of the same first lease, made later, is the clock: when it has run out, so would
    // have the other.
    claim(store, &witness, Duration::from_secs(3)).await?;
    take_over(store, &witness).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    Ok(())
}

/// A claim that another owner has taken over cannot complete the key.
pub(super) async fn a_lost_claim_cannot_be_completed(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let lost = claim(store, &key, SHORT).await?;
    let current = take_over(store, &key).await?;
    assert!(!store.complete(&lost, Vec::new(), LONG).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    assert!(store.complete(&current, Vec::new(), LONG).await?);
    Ok(())
}

/// A claim that was taken over, given up or completed cannot be prolonged.
pub(super) async fn a_lost_claim_cannot_be_extended(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let lost = claim(store, &key, SHORT).await?;
    let current = take_over(store, &key).await?;
    assert!(!store.extend(&lost, LONG).await?);
    assert!(store.extend(&current, LONG).await?);
    store.complete(&current, Vec::new(), LONG).await?;
    assert!(!store.extend(&current, LONG).await?, "it is done");
    let other = self::key();
    let released = claim(store, &other, LONG).await?;
    store.release(&released).await?;
    assert!(!store.extend(&released, LONG).await?, "it was given up");
    assert!(
        !store.extend(&Token::new(self::key()), LONG).await?,
        "it never was"
    );
    Ok(())
}

/// Giving up a claim that was lost does not free the key of its new owner.
pub(super) async fn releasing_a_lost_claim_leaves_the_new_one_alone(
    store: &dyn IdempotencyStore,
) -> Outcome {
    let key = key();
    let lost = claim(store, &key, SHORT).await?;
    let current = take_over(store, &key).await?;
    store.release(&lost).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    assert!(store.complete(&current, Vec::new(), LONG).await?);
    Ok(())
}

/// A claim that is prolonged again and again is never given to another owner.
pub(super) async fn a_heartbeat_keeps_a_claim(store: &dyn IdempotencyStore) -> Outcome {
    let (key, witness, lease) = (key(), key(), Duration::from_millis(1500));
    let token = claim(store, &key, lease).await?;
    // Claims of the same lease that are never prolonged are the clock: two of them, one after the
    // other, last for two leases.
    for _ in 0..2 {
        claim(store, &witness, lease).await?;
        let ended = until("the lease of the witness runs out", || async {
            match beat(store, &token, lease).await {
                Ok(()) => {}
                failed => return Some(failed),
            }
            match begin(store, &witness, lease).await {
                Ok(Begin::InProgress) => None,
                Ok(Begin::Fresh(token)) => Some(store.release(&token).await.map_err(Into::into)),
                other => Some(Err(format!("the witness is {other:?}").into())),
            }
        });
        ended.await?;
    }
    assert!(store.complete(&token, Vec::new(), LONG).await?);
    Ok(())
}

/// Prolongs a claim, and looks whether another one can get its key.
async fn beat(store: &dyn IdempotencyStore, token: &Token, lease: Duration) -> Outcome {
    assert!(store.extend(token, lease).await?, "the claim is held");
    assert_eq!(begin(store, &token.key, lease).await?, Begin::InProgress);
    Ok(())
}

/// A claim that was taken over changes nothing, also when its new owner is done.
pub(super) async fn a_stolen_claim_is_fenced_off(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let frozen = claim(store, &key, SHORT).await?;
    let thief = take_over(store, &key).await?;
    let replies = |text: &'static str| {
        vec![StoredReply {
            message_types: vec!["urn:message:Conformance:Answered".into()],
            message: text.into(),
            headers: Headers::new(),
        }]
    };
    assert!(store.complete(&thief, replies("2"), LONG).await?);
    assert!(!store.extend(&frozen, LONG).await?);
    assert!(!store.complete(&frozen, replies("1"), LONG).await?);
    store.release(&frozen).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(replies("2")));
    Ok(())
}
