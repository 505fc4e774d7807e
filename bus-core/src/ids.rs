//! Ids of what a message causes: the same whenever it causes the same again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Derives the id of what `cause` led to; `parts` tell it from everything else that it leads to.
pub(crate) fn derived(cause: Uuid, parts: &[&[u8]]) -> Uuid {
    Uuid::new_v5(&cause, &parts.join(&0))
}

/// What one run of a consumer has sent, counted by its content.
#[derive(Debug, Default)]
pub(crate) struct Sent(Mutex<HashMap<u64, u32>>);

/// Gives ids to what a message causes at an endpoint.
///
/// The content is part of an id: a run that sends something else, as it finds another state than the one before, must
/// not have it taken for what that one sent. The order in which things are sent is not.
#[derive(Clone, Copy)]
pub(crate) struct Ids<'a> {
    /// The message being consumed.
    pub(crate) cause: Uuid,
    pub(crate) endpoint: &'a str,
    /// What sends: the consumer, or what runs around it.
    pub(crate) step: &'static str,
    pub(crate) sent: &'a Sent,
}

impl Ids<'_> {
    /// The id of the next message of this type and content to this target.
    pub(crate) fn next(&self, urn: &str, target: &str, message: &[u8]) -> Uuid {
        // Quicker than SHA-1 for a large message. Another compiler may hash otherwise: its ids differ then, so that a
        // message counts as another one, never another one as the same.
        let mut hasher = DefaultHasher::new();
        (urn, target, message).hash(&mut hasher);
        let content = hasher.finish();
        let number = self.sent.count(content);
        derived(
            self.cause,
            &[
                self.endpoint.as_bytes(),
                self.step.as_bytes(),
                urn.as_bytes(),
                target.as_bytes(),
                &content.to_le_bytes(),
                &number.to_le_bytes(),
            ],
        )
    }
}

impl Sent {
    /// How many equal ones there were before.
    fn count(&self, content: u64) -> u32 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(content).or_default();
        *count += 1;
        *count - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ids of what one run sends: `(urn, target, message)`.
    fn run(cause: u128, endpoint: &str, sends: &[(&str, &str, &str)]) -> Vec<Uuid> {
        let sent = Sent::default();
        let ids = Ids {
            cause: Uuid::from_u128(cause),
            endpoint,
            step: "consumer",
            sent: &sent,
        };
        sends
            .iter()
            .map(|(urn, target, message)| ids.next(urn, target, message.as_bytes()))
            .collect()
    }

    #[test]
    fn a_second_run_gives_the_same_ids_in_any_order() {
        let sends = [("A", "q", "1"), ("A", "q", "1"), ("B", "q", "1")];
        let first = run(1, "e", &sends);
        assert_eq!(run(1, "e", &sends), first);
        let again = run(1, "e", &[sends[2], sends[0], sends[1]]);
        assert_eq!(again, [first[2], first[0], first[1]]);
    }

    #[test]
    fn what_differs_in_anything_has_an_id_of_its_own() {
        let sends = [
            ("A", "q", "1"),
            ("A", "q", "1"),
            ("A", "q", "2"),
            ("A", "r", "1"),
            ("B", "q", "1"),
        ];
        let mut all = run(1, "e", &sends);
        all.extend(run(2, "e", &sends));
        all.extend(run(1, "f", &sends));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
