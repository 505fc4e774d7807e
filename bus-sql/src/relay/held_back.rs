//! Rows that wait before they are tried again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Without;

/// First wait after a failure; each further one in a row is twice as long.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(30);

/// Time after a hold within which another failure counts as one in a row.
const MEMORY: Duration = Duration::from_mins(1);

/// Rows that are held back together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// All rows of a destination: it takes nothing now.
    Destination(String),
    /// All rows of a key, whose order is kept.
    Key(String),
    /// One row.
    Row(i64),
}

/// Rows that are held back, and until when.
#[derive(Debug, Default)]
pub(super) struct HeldBack(HashMap<Place, Hold>);

#[derive(Debug)]
struct Hold {
    failures: u32,
    until: Instant,
}

impl HeldBack {
    /// Holds rows back after a failure.
    pub(super) fn hold(&mut self, place: Place) {
        let now = Instant::now();
        let hold = self.0.entry(place).or_insert(Hold {
            failures: 0,
            until: now,
        });
        // The failures of messages that were on their way together count once.
        if hold.until > now {
            return;
        }
        let wait = FIRST
            .saturating_mul(1 << hold.failures.min(10))
            .min(LONGEST);
        hold.failures += 1;
        hold.until = now + wait.mul_f64(0.75 + fastrand::f64() / 2.0);
    }

    /// Forgets the failures of a place, as a message has left or is given up.
    pub(super) fn release(&mut self, place: &Place) {
        self.0.remove(place);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds a key back as long as a destination of one of its rows.
    pub(super) fn hold_key(&mut self, key: &str, destination: &str) {
        let place = Place::Destination(destination.to_owned());
        if let Some(until) = self.0.get(&place).map(|hold| hold.until) {
            let hold = self.0.entry(Place::Key(key.to_owned()));
            let hold = hold.or_insert(Hold { failures: 0, until });
            hold.until = hold.until.max(until);
        }
    }

    /// Forgets what has not failed for a while.
    pub(super) fn forget(&mut self) {
        let now = Instant::now();
        self.0.retain(|_, hold| now < hold.until + MEMORY);
    }

    /// The first end of a hold that is not over yet.
    pub(super) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let ends = self.0.values().map(|hold| hold.until);
        ends.filter(|until| *until > now).min()
    }

    /// The places that are held back now.
    pub(super) fn now(&self) -> HashSet<Place> {
        let now = Instant::now();
        let held = self.0.iter().filter(|(_, hold)| hold.until > now);
        held.map(|(place, _)| place.clone()).collect()
    }
}

/// The rows of these places.
pub(super) fn rows_of(places: &HashSet<Place>) -> Without {
    let mut without = Without::default();
    for place in places {
        match place {
            Place::Destination(name) => without.destinations.push(name.clone()),
            Place::Key(key) => without.keys.push(key.clone()),
            Place::Row(id) => without.rows.push(*id),
        }
    }
    without
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_something_leaves() {
        let mut held = HeldBack::default();
        let place = || Place::Destination("queue:a".to_owned());
        let mut waits = Vec::new();
        for _ in 0..12 {
            held.hold(place());
            held.hold(place());
            let end = held.next().expect("held back");
            waits.push(end - Instant::now());
            assert_eq!(rows_of(&held.now()).destinations, ["queue:a"]);
            tokio::time::sleep_until(end).await;
            assert!(held.now().is_empty());
        }
        assert!(waits[0] <= FIRST.mul_f64(1.25), "{waits:?}");
        assert!(waits[11] >= LONGEST.mul_f64(0.75), "{waits:?}");
        held.release(&place());
        held.hold(place());
        let first = held.next().expect("held back") - Instant::now();
        assert!(first <= FIRST.mul_f64(1.25), "{first:?}");
    }
}
