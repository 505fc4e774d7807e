//! Behaviours of idempotency stores.
//!
//! Keys are unique, so that cases may share a store.

use std::future::Future;
use std::time::Duration;

use bus_core::Headers;
use bus_core::idempotency::{Begin, StoredReply, Token};
use bytes::Bytes;
use futures_util::future::join_all;
use uuid::Uuid;

pub use bus_core::idempotency::IdempotencyStore;

use crate::run::{Running, block_on, pass};
use crate::support::{Outcome, eventually, until};

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(600);

/// Over before a case looks, but not zero: a store may round.
const SHORT: Duration = Duration::from_millis(20);

/// One entry of the list.
#[derive(Debug)]
pub struct StoreBehaviour {
    /// Name of its function, and of the test.
    pub name: &'static str,
    /// The function.
    pub run: for<'a> fn(&'a dyn IdempotencyStore) -> Running<'a>,
}

/// Runs one behaviour of a store.
///
/// # Panics
/// If it fails or takes too long.
pub fn run<S: IdempotencyStore>(name: &str, store: impl Future<Output = S>) {
    let behaviour = BEHAVIOURS.iter().find(|behaviour| behaviour.name == name);
    let behaviour = behaviour.expect("tests are made of the list");
    block_on(async {
        let store = store.await;
        pass(name, (behaviour.run)(&store)).await;
    });
}

fn key() -> String {
    format!("orders/{}", Uuid::new_v4())
}

const FINGERPRINT: Uuid = Uuid::from_u128(7);

async fn begin(store: &dyn IdempotencyStore, key: &str, lease: Duration) -> Outcome<Begin> {
    Ok(store.begin(key, FINGERPRINT, lease).await?)
}

/// Claims a key that must be free.
async fn claim(store: &dyn IdempotencyStore, key: &str, lease: Duration) -> Outcome<Token> {
    match begin(store, key, lease).await? {
        Begin::Fresh(token) => Ok(token),
        other => Err(format!("`{key}` must be fresh, but is {other:?}").into()),
    }
}

/// Claims a key as soon as its lease has run out; the claim before it is lost then.
async fn take_over(store: &dyn IdempotencyStore, key: &str) -> Outcome<Token> {
    let begun = until("the lease runs out", || async {
        let begun = begin(store, key, LONG).await;
        Some(begun).filter(|begun| !matches!(begun, Ok(Begin::InProgress)))
    });
    match begun.await? {
        Begin::Fresh(token) => Ok(token),
        other => Err(format!("`{key}` is {other:?}").into()),
    }
}

/// A key that was never claimed is fresh, and its token names it.
async fn a_new_key_is_fresh(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    assert_eq!(claim(store, &key, LONG).await?.key, key);
    Ok(())
}

/// A claimed key is in progress for all others.
async fn a_claimed_key_is_in_progress(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    claim(store, &key, LONG).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    Ok(())
}

/// A key that was completed is done, again and again.
async fn a_completed_key_is_done(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let token = claim(store, &key, LONG).await?;
    assert!(store.complete(&token, Vec::new(), LONG).await?);
    for _ in 0..2 {
        assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    }
    Ok(())
}

/// Replies come back as they were: types, bytes, headers of every kind, and order.
async fn replies_are_kept_as_they_were(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let mut headers = Headers::new();
    headers.insert("Tenant", "nörth \u{1F69A}");
    headers.insert("Count", 7_i64);
    headers.insert("Fraction", 0.5);
    headers.insert("Yes", true);
    headers.insert("List", vec!["a".into(), 1_i64.into()]);
    let reply = |message: &'static [u8]| StoredReply {
        message_types: vec![
            "urn:message:Conformance:Answered".into(),
            "urn:message:Conformance:Base".into(),
        ],
        message: Bytes::from_static(message),
        headers: headers.clone(),
    };
    let replies = vec![
        reply(br#"{"number":1}"#),
        reply(b"{\"text\":\"\xc3\xbc\\u0000\"}"),
        reply(b""),
    ];
    let token = claim(store, &key, LONG).await?;
    assert!(store.complete(&token, replies.clone(), LONG).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(replies));
    Ok(())
}

/// A key that is known with other content is a mismatch, in progress and when it is
/// done.
async fn another_fingerprint_is_a_mismatch(store: &dyn IdempotencyStore) -> Outcome {
    let (key, other) = (key(), Uuid::from_u128(8));
    let token = claim(store, &key, LONG).await?;
    assert_eq!(store.begin(&key, other, LONG).await?, Begin::Mismatch);
    store.complete(&token, Vec::new(), LONG).await?;
    assert_eq!(store.begin(&key, other, LONG).await?, Begin::Mismatch);
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

/// A key that was given up is fresh again, for any content.
async fn a_released_key_is_fresh_again(store: &dyn IdempotencyStore) -> Outcome {
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
async fn a_claim_ends_with_its_lease(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let first = claim(store, &key, SHORT).await?;
    let second = take_over(store, &key).await?;
    assert_ne!(first, second);
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    Ok(())
}

/// A claim that is prolonged in time stays claimed past its first lease.
async fn an_extended_claim_outlives_its_lease(store: &dyn IdempotencyStore) -> Outcome {
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
async fn a_lost_claim_cannot_be_completed(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let lost = claim(store, &key, SHORT).await?;
    let current = take_over(store, &key).await?;
    assert!(!store.complete(&lost, Vec::new(), LONG).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    assert!(store.complete(&current, Vec::new(), LONG).await?);
    Ok(())
}

/// A claim that was taken over, given up or completed cannot be prolonged.
async fn a_lost_claim_cannot_be_extended(store: &dyn IdempotencyStore) -> Outcome {
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
async fn releasing_a_lost_claim_leaves_the_new_one_alone(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let lost = claim(store, &key, SHORT).await?;
    let current = take_over(store, &key).await?;
    store.release(&lost).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    assert!(store.complete(&current, Vec::new(), LONG).await?);
    Ok(())
}

/// Giving up a claim after it was completed does not undo that.
async fn releasing_a_done_key_leaves_it_done(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let token = claim(store, &key, LONG).await?;
    store.complete(&token, Vec::new(), LONG).await?;
    store.release(&token).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

/// A key is completed once: a second time changes nothing.
async fn a_key_is_completed_once(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let token = claim(store, &key, LONG).await?;
    assert!(store.complete(&token, Vec::new(), LONG).await?);
    let late = StoredReply {
        message_types: Vec::new(),
        message: Bytes::from_static(b"{}"),
        headers: Headers::new(),
    };
    assert!(!store.complete(&token, vec![late], LONG).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

/// A done key is remembered as long as was said, and then fresh, for any content.
async fn a_done_key_is_forgotten_in_time(store: &dyn IdempotencyStore) -> Outcome {
    let (brief, long) = (key(), key());
    for (key, keep) in [(&brief, SHORT), (&long, LONG)] {
        let token = claim(store, key, LONG).await?;
        assert!(store.complete(&token, Vec::new(), keep).await?);
    }
    eventually("the brief one is forgotten", || async {
        let other = Uuid::from_u128(8);
        matches!(store.begin(&brief, other, LONG).await, Ok(Begin::Fresh(_)))
    })
    .await;
    assert_eq!(begin(store, &long, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

/// `Duration::MAX` is without end: for a claim, for one that is prolonged, and for
/// a key that is done.
async fn a_key_may_be_held_and_kept_without_end(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let token = claim(store, &key, Duration::MAX).await?;
    assert!(store.extend(&token, Duration::MAX).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    assert!(store.complete(&token, Vec::new(), Duration::MAX).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

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
async fn of_racing_claims_one_is_fresh(store: &dyn IdempotencyStore) -> Outcome {
    for _ in 0..10 {
        assert_eq!(race(store, &key()).await?, 1);
    }
    Ok(())
}

/// Of many who take over an expired claim at once exactly one gets it.
async fn of_racing_claims_on_an_expired_lease_one_is_fresh(
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

/// A change of one key leaves others alone, also those that are almost equal.
async fn keys_do_not_disturb_each_other(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let similar = [
        key.to_uppercase(),
        format!("{key} "),
        format!("{key}/1"),
        key[..key.len() - 1].to_owned(),
    ];
    let token = claim(store, &key, LONG).await?;
    for other in &similar {
        let token = claim(store, other, LONG).await?;
        store.release(&token).await?;
    }
    assert!(store.complete(&token, Vec::new(), LONG).await?);
    for other in &similar {
        claim(store, other, LONG).await?;
    }
    Ok(())
}

/// Keys are any text that fits in a header: long, in any script, with quotes.
async fn keys_may_be_any_text(store: &dyn IdempotencyStore) -> Outcome {
    let unique = Uuid::new_v4();
    for text in [
        "größe 注文 \u{1F69A}",
        "'; drop table orders; --",
        "%_\\",
        &"k".repeat(2_000),
    ] {
        let key = format!("{text}/{unique}");
        let token = claim(store, &key, LONG).await?;
        assert!(store.complete(&token, Vec::new(), LONG).await?);
        assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    }
    Ok(())
}

store_behaviours! {
    a_new_key_is_fresh,
    a_claimed_key_is_in_progress,
    a_completed_key_is_done,
    replies_are_kept_as_they_were,
    another_fingerprint_is_a_mismatch,
    a_released_key_is_fresh_again,
    a_claim_ends_with_its_lease,
    an_extended_claim_outlives_its_lease,
    a_lost_claim_cannot_be_completed,
    a_lost_claim_cannot_be_extended,
    releasing_a_lost_claim_leaves_the_new_one_alone,
    releasing_a_done_key_leaves_it_done,
    a_key_is_completed_once,
    a_done_key_is_forgotten_in_time,
    a_key_may_be_held_and_kept_without_end,
    of_racing_claims_one_is_fresh,
    of_racing_claims_on_an_expired_lease_one_is_fresh,
    keys_do_not_disturb_each_other,
    keys_may_be_any_text,
}
