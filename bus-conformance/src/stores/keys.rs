//! Keys: what is kept of them, and how long.

use std::time::Duration;

use bus_core::Headers;
use bus_core::idempotency::{Begin, IdempotencyStore, StoredReply};
use bus_core::message::HeaderValue;
use bytes::Bytes;
use uuid::Uuid;

use super::steps::{LONG, SHORT, begin, claim, key};
use crate::support::{Outcome, eventually};

/// A key that was completed is done, again and again.
pub(super) async fn a_completed_key_is_done(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let token = claim(store, &key, LONG).await?;
    assert!(store.complete(&token, Vec::new(), LONG).await?);
    for _ in 0..2 {
        assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    }
    Ok(())
}

/// Replies come back as they were: types, bytes, headers of every kind, and order.
pub(super) async fn replies_are_kept_as_they_were(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let mut headers = Headers::new();
    headers.insert("Tenant", "nörth \u{1F69A}");
    headers.insert("Count", 7_i64);
    headers.insert("Fraction", 0.5);
    headers.insert("Yes", true);
    headers.insert("List", vec!["a".into(), 1_i64.into()]);
    headers.insert("Nothing", HeaderValue::Null);
    headers.insert("Large", u64::MAX);
    headers.insert("When", HeaderValue::Timestamp(1_700_000_000));
    headers.insert("Bytes", HeaderValue::Bytes(vec![0, 0xff]));
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
        reply(b"\xff\x00"),
    ];
    let token = claim(store, &key, LONG).await?;
    assert!(store.complete(&token, replies.clone(), LONG).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(replies));
    Ok(())
}

/// A key that is known with other content is a mismatch, in progress and when it is
/// done.
pub(super) async fn another_fingerprint_is_a_mismatch(store: &dyn IdempotencyStore) -> Outcome {
    let (key, other) = (key(), Uuid::from_u128(8));
    let token = claim(store, &key, LONG).await?;
    assert_eq!(store.begin(&key, other, LONG).await?, Begin::Mismatch);
    store.complete(&token, Vec::new(), LONG).await?;
    assert_eq!(store.begin(&key, other, LONG).await?, Begin::Mismatch);
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

/// Giving up a claim after it was completed does not undo that.
pub(super) async fn releasing_a_done_key_leaves_it_done(store: &dyn IdempotencyStore) -> Outcome {
    let key = key();
    let token = claim(store, &key, LONG).await?;
    store.complete(&token, Vec::new(), LONG).await?;
    store.release(&token).await?;
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

/// A key is completed once: a second time changes nothing.
pub(super) async fn a_key_is_completed_once(store: &dyn IdempotencyStore) -> Outcome {
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
pub(super) async fn a_done_key_is_forgotten_in_time(store: &dyn IdempotencyStore) -> Outcome {
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
pub(super) async fn a_key_may_be_held_and_kept_without_end(
    store: &dyn IdempotencyStore,
) -> Outcome {
    let key = key();
    let token = claim(store, &key, Duration::MAX).await?;
    assert!(store.extend(&token, Duration::MAX).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::InProgress);
    assert!(store.complete(&token, Vec::new(), Duration::MAX).await?);
    assert_eq!(begin(store, &key, LONG).await?, Begin::Done(Vec::new()));
    Ok(())
}

/// A change of one key leaves others alone, also those that are almost equal.
pub(super) async fn keys_do_not_disturb_each_other(store: &dyn IdempotencyStore) -> Outcome {
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
pub(super) async fn keys_may_be_any_text(store: &dyn IdempotencyStore) -> Outcome {
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
