//! Waiting messages of a queue, in the order in which they are served.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::message::Entry;

/// Entries by priority, each priority first in, first out.
///
/// A queue without priorities has one level.
#[derive(Debug)]
pub(crate) struct Ready {
    levels: Vec<VecDeque<Entry>>,
    len: usize,
}

impl Ready {
    pub(crate) fn new(max_priority: u8) -> Self {
        Self {
            levels: (0..=max_priority).map(|_| VecDeque::new()).collect(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an entry at its position.
    ///
    /// That is at the end if it is new, at its old place if it comes back.
    pub(crate) fn put(&mut self, entry: Entry) {
        let highest = self.levels.len() - 1;
        let level = usize::from(entry.message.content.priority.unwrap_or(0)).min(highest);
        let level = &mut self.levels[level];
        let is_last = level
            .back()
            .is_none_or(|last| last.position < entry.position);
        if is_last {
            level.push_back(entry);
        } else {
            let place = level.partition_point(|other| other.position < entry.position);
            level.insert(place, entry);
        }
        self.len += 1;
    }

    /// Takes the next entry to serve: the oldest of the highest priority.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        self.levels.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// Takes an expired entry.
    ///
    /// Only the head of each priority is looked at, as on RabbitMQ.
    pub(crate) fn pop_expired(&mut self) -> Option<Entry> {
        let is_expired =
            |level: &&mut VecDeque<Entry>| level.front().is_some_and(Entry::is_expired);
        let entry = self.levels.iter_mut().find(is_expired)?.pop_front();
        self.len -= 1;
        entry
    }

    /// Time at which the first head expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.levels
            .iter()
            .filter_map(|level| level.front()?.expires)
            .min()
    }
}
