//! Behaviours of idempotency stores.
//!
//! Keys are unique, so that cases may share a store.

mod claims;
mod keys;
mod races;
mod steps;

use std::future::Future;

pub use bus_core::idempotency::IdempotencyStore;

use self::claims::{
    a_claim_ends_with_its_lease, a_claimed_key_is_in_progress, a_heartbeat_keeps_a_claim,
    a_lost_claim_cannot_be_completed, a_lost_claim_cannot_be_extended, a_new_key_is_fresh,
    a_released_key_is_fresh_again, a_stolen_claim_is_fenced_off,
    an_extended_claim_outlives_its_lease, releasing_a_lost_claim_leaves_the_new_one_alone,
};
use self::keys::{
    a_completed_key_is_done, a_done_key_is_forgotten_in_time, a_key_is_completed_once,
    a_key_may_be_held_and_kept_without_end, another_fingerprint_is_a_mismatch,
    keys_do_not_disturb_each_other, keys_may_be_any_text, releasing_a_done_key_leaves_it_done,
    replies_are_kept_as_they_were,
};
use self::races::{
    a_dropped_call_breaks_nothing, many_keys_are_handled_at_once,
    of_racing_claims_on_an_expired_lease_one_is_fresh, of_racing_claims_one_is_fresh,
    racing_duplicates_have_one_effect,
};
use crate::run::{Running, block_on, pass};

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

store_behaviours! {
    a_new_key_is_fresh,
    a_claimed_key_is_in_progress,
    a_released_key_is_fresh_again,
    a_claim_ends_with_its_lease,
    an_extended_claim_outlives_its_lease,
    a_lost_claim_cannot_be_completed,
    a_lost_claim_cannot_be_extended,
    releasing_a_lost_claim_leaves_the_new_one_alone, a_heartbeat_keeps_a_claim, a_stolen_claim_is_fenced_off,
    a_completed_key_is_done,
    replies_are_kept_as_they_were,
    another_fingerprint_is_a_mismatch,
    releasing_a_done_key_leaves_it_done,
    a_key_is_completed_once,
    a_done_key_is_forgotten_in_time,
    a_key_may_be_held_and_kept_without_end,
    keys_do_not_disturb_each_other,
    keys_may_be_any_text,
    of_racing_claims_one_is_fresh,
    of_racing_claims_on_an_expired_lease_one_is_fresh, racing_duplicates_have_one_effect, many_keys_are_handled_at_once, a_dropped_call_breaks_nothing,
}
