//! What was tried, confirmed, handled and followed up in one round, and what of it does not add up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus_core::error::SendErrorKind;

/// The books of one kind of queue. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    attempted: BTreeSet<u64>,
    confirmed: BTreeSet<u64>,
    /// Failed with an error that says that it was not sent.
    unreachable: BTreeSet<u64>,
    /// The same, as no queue took it.
    unroutable: BTreeSet<u64>,
    failures: BTreeMap<String, u64>,
    handled: BTreeMap<u64, u64>,
    followed: BTreeSet<u64>,
    /// Follow-ups of attempts that failed.
    ghosts: BTreeSet<u64>,
}

/// The figures of a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) attempted: u64,
    pub(crate) confirmed: u64,
    pub(crate) handled: u64,
    /// Handled more than once, as at-least-once allows.
    pub(crate) again: u64,
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attempt(&self, id: u64) {
        self.pages().attempted.insert(id);
    }

    pub(crate) fn confirm(&self, id: u64) {
        self.pages().confirmed.insert(id);
    }

    pub(crate) fn fail(&self, id: u64, kind: SendErrorKind) {
        let mut pages = self.pages();
        *pages.failures.entry(format!("{kind:?}")).or_default() += 1;
        let denied = match kind {
            SendErrorKind::Unreachable => &mut pages.unreachable,
            SendErrorKind::Unroutable => &mut pages.unroutable,
            _ => return,
        };
        denied.insert(id);
    }

    pub(crate) fn handle(&self, id: u64) {
        *self.pages().handled.entry(id).or_default() += 1;
    }

    pub(crate) fn follow(&self, id: u64, of_failed_attempt: bool) {
        let mut pages = self.pages();
        pages.followed.insert(id);
        if of_failed_attempt {
            pages.ghosts.insert(id);
        }
    }

    /// How many are handled by now.
    pub(crate) fn handled(&self) -> usize {
        self.pages().handled.len()
    }

    /// Whether all that was confirmed is handled, and all that was handled followed up.
    pub(crate) fn are_even(&self) -> bool {
        let pages = self.pages();
        let handled = |id| pages.handled.contains_key(id);
        pages.confirmed.iter().all(handled)
            && pages.handled.keys().all(|id| pages.followed.contains(id))
    }

    /// Closes the books of a round, whose queues are empty: the sums, and every violation.
    pub(crate) fn close(&self) -> (Sums, Vec<String>) {
        let pages = std::mem::take(&mut *self.pages());
        let handled: BTreeSet<u64> = pages.handled.keys().copied().collect();
        let wrong = [
            (
                "confirmed, but neither handled nor queued",
                pages.confirmed.difference(&handled).count(),
            ),
            (
                "handled, but never attempted",
                handled.difference(&pages.attempted).count(),
            ),
            (
                "handled without a follow-up",
                handled.difference(&pages.followed).count(),
            ),
            (
                "followed up without being handled",
                pages.followed.difference(&handled).count(),
            ),
            ("followed up by a failed attempt", pages.ghosts.len()),
            (
                "not sent, as was said, but handled",
                pages.unreachable.intersection(&handled).count(),
            ),
            (
                "taken by no queue, as was said, but handled",
                pages.unroutable.intersection(&handled).count(),
            ),
        ];
        let wrong = wrong.into_iter().filter(|(_, count)| *count > 0);
        let sums = Sums {
            attempted: pages.attempted.len() as u64,
            confirmed: pages.confirmed.len() as u64,
            handled: handled.len() as u64,
            again: pages.handled.values().map(|count| count - 1).sum(),
            failures: pages.failures,
        };
        (
            sums,
            wrong
                .map(|(what, count)| format!("{count} {what}"))
                .collect(),
        )
    }
}

impl Sums {
    /// Adds those of another round.
    pub(crate) fn add(&mut self, other: &Self) {
        self.attempted += other.attempted;
        self.confirmed += other.confirmed;
        self.handled += other.handled;
        self.again += other.again;
        for (kind, count) in &other.failures {
            *self.failures.entry(kind.clone()).or_default() += count;
        }
    }
}
