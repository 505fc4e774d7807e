//! What was sent to a service, and what must have become of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Arrival, ordering_key};

/// What was sent to a service. Its effects and events are compared with that.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    attempted: BTreeSet<u32>,
    confirmed: BTreeSet<u32>,
}

impl Ledger {
    /// Notes that a message is about to be sent.
    pub fn attempt(&mut self, number: u32) {
        self.attempted.insert(number);
    }

    /// Notes that it was confirmed.
    pub fn confirm(&mut self, number: u32) {
        self.confirmed.insert(number);
    }

    /// Adds what another sender has noted.
    pub fn add(&mut self, other: Self) {
        self.attempted.extend(other.attempted);
        self.confirmed.extend(other.confirmed);
    }

    /// How many were attempted, and how many confirmed.
    pub fn counts(&self) -> (usize, usize) {
        (self.attempted.len(), self.confirmed.len())
    }

    /// Every violation, once all was confirmed and nothing is under way.
    ///
    /// `effects` are in the order of their commits; `arrivals` are the events of the service, as
    /// they came, and `taken` those that a receiver with an inbox has handled.
    pub fn violations(&self, effects: &[u32], arrivals: &[Arrival], taken: &[u32]) -> Vec<String> {
        let happened: BTreeSet<u32> = effects.iter().copied().collect();
        let mut violations = Vec::new();
        let mut note = |what: &str, numbers: Vec<u32>| {
            if !numbers.is_empty() {
                violations.push(format!("{what}: {numbers:?}"));
            }
        };
        let without = |one: &BTreeSet<u32>, other: &BTreeSet<u32>| {
            one.difference(other).copied().collect::<Vec<_>>()
        };
        note("more than one effect", repeated(effects));
        note(
            "confirmed, without effect",
            without(&self.confirmed, &happened),
        );
        note(
            "an effect, never attempted",
            without(&happened, &self.attempted),
        );
        let arrived: BTreeSet<u32> = arrivals.iter().map(|arrival| arrival.number).collect();
        note("an effect, without its event", without(&happened, &arrived));
        note("an event, without its effect", without(&arrived, &happened));
        note("an event with several ids", with_several_ids(arrivals));
        let handled: BTreeSet<u32> = taken.iter().copied().collect();
        note("handled twice by a receiver with an inbox", repeated(taken));
        note(
            "never handled by a receiver with an inbox",
            without(&arrived, &handled),
        );
        note("out of the order of its key", misplaced(effects, arrivals));
        violations
    }
}

fn repeated(numbers: &[u32]) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    let again = numbers.iter().filter(|number| !seen.insert(**number));
    again.copied().collect()
}

fn with_several_ids(arrivals: &[Arrival]) -> Vec<u32> {
    let mut ids = BTreeMap::<u32, BTreeSet<_>>::new();
    for arrival in arrivals {
        ids.entry(arrival.number).or_default().insert(arrival.id);
    }
    let several = ids.iter().filter(|(_, ids)| ids.len() != 1);
    several.map(|(number, _)| *number).collect()
}

/// Events that arrived, for the first time, in another order than that of the effects with their
/// key.
fn misplaced(effects: &[u32], arrivals: &[Arrival]) -> Vec<u32> {
    let mut seen = BTreeSet::new();
    let first = arrivals.iter().map(|arrival| arrival.number);
    let first: Vec<_> = first.filter(|number| seen.insert(*number)).collect();
    let (committed, arrived) = (by_key(effects), by_key(&first));
    let of_key = |(key, numbers): (&String, &Vec<u32>)| {
        let committed = committed.get(key).map_or(&[][..], Vec::as_slice);
        let pairs = numbers.iter().zip(committed);
        pairs
            .filter(|(arrived, committed)| arrived != committed)
            .map(|(arrived, _)| *arrived)
            .collect::<Vec<_>>()
    };
    arrived.iter().flat_map(of_key).collect()
}

fn by_key(numbers: &[u32]) -> BTreeMap<String, Vec<u32>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for number in numbers {
        keys.entry(ordering_key(*number)).or_default().push(*number);
    }
    keys
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn ledger(attempted: &[u32], confirmed: &[u32]) -> Ledger {
        Ledger {
            attempted: attempted.iter().copied().collect(),
            confirmed: confirmed.iter().copied().collect(),
        }
    }

    fn arrivals(numbers: &[u32]) -> Vec<Arrival> {
        let id = |number| Uuid::from_u128(u128::from(number));
        let arrival = |number: &u32| Arrival {
            number: *number,
            id: Some(id(*number)),
        };
        numbers.iter().map(arrival).collect()
    }

    #[test]
    fn events_that_come_again_with_their_id_are_no_violation() {
        let found = ledger(&[0, 3, 6], &[0, 3]).violations(
            &[0, 3, 6],
            &arrivals(&[0, 3, 0, 3, 6]),
            &[0, 3, 6],
        );
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn each_violation_is_found() {
        let found = |effects: &[u32], came: &[u32], taken: &[u32]| {
            ledger(&[0, 3, 6], &[0, 3]).violations(effects, &arrivals(came), taken)
        };
        let cases = [
            (
                found(&[0, 3, 3], &[0, 3], &[0, 3]),
                "more than one effect: [3]",
            ),
            (found(&[0], &[0], &[0]), "confirmed, without effect: [3]"),
            (
                found(&[0, 3, 9], &[0, 3, 9], &[0, 3, 9]),
                "never attempted: [9]",
            ),
            (found(&[0, 3], &[0], &[0]), "without its event: [3]"),
            (
                found(&[0, 3], &[0, 3, 6], &[0, 3, 6]),
                "without its effect: [6]",
            ),
            (
                found(&[0, 3], &[0, 3], &[0, 3, 3]),
                "handled twice by a receiver",
            ),
            (found(&[0, 3], &[0, 3], &[0]), "never handled by a receiver"),
            (
                found(&[0, 3], &[3, 0], &[0, 3]),
                "out of the order of its key: [3, 0]",
            ),
        ];
        for (found, expected) in cases {
            let has = found.iter().any(|violation| violation.contains(expected));
            assert!(has, "{expected} is not among {found:?}");
        }
        let mut twice = arrivals(&[0, 3, 3]);
        twice[2].id = Some(Uuid::from_u128(7));
        let found = ledger(&[0, 3], &[0, 3]).violations(&[0, 3], &twice, &[0, 3]);
        assert_eq!(found, ["an event with several ids: [3]"]);
    }
}
