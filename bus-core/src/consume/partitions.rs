//! Partitions of an endpoint: messages of one key, one after the other.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;

/// The keys that have messages in flight, and the order in which messages came.
///
/// The lanes of an endpoint find the keys of their messages side by side, so that a message joins
/// the line of its key only after all that were pulled before it have joined theirs.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    arrivals: Mutex<Line>,
    keys: Mutex<HashMap<u64, Partition>>,
}

#[derive(Debug, Default)]
struct Partition {
    line: Line,
    members: usize,
}

/// A line in which each waits for the one before.
#[derive(Debug, Default)]
struct Line {
    last: Option<Ahead>,
}

/// The end of the one before, which passes on whom it still waited for itself.
#[derive(Debug)]
struct Ahead(oneshot::Receiver<Option<Ahead>>);

/// A place in a line; dropped, it leaves the line.
pub(crate) struct Place {
    ahead: Option<Ahead>,
    behind: Option<oneshot::Sender<Option<Ahead>>>,
}

/// A place in the line of a key.
pub(crate) struct KeyPlace {
    place: Place,
    key: u64,
    partitions: Arc<Partitions>,
}

impl Partitions {
    /// Polls for a message; one that comes gets the next place in the order of arrival.
    ///
    /// The lock orders the lanes, which poll at the same time.
    pub(crate) fn pull<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<(T, Place)> {
        let mut arrivals = lock(&self.arrivals);
        poll().map(|pulled| (pulled, arrivals.join()))
    }

    /// Joins the line of a key.
    pub(crate) fn join(self: &Arc<Self>, key: u64) -> KeyPlace {
        let mut keys = lock(&self.keys);
        let partition = keys.entry(key).or_default();
        partition.members += 1;
        KeyPlace {
            place: partition.line.join(),
            key,
            partitions: Arc::clone(self),
        }
    }
}

impl Line {
    fn join(&mut self) -> Place {
        let (behind, last) = oneshot::channel();
        Place {
            ahead: self.last.replace(Ahead(last)),
            behind: Some(behind),
        }
    }
}

impl Place {
    /// Waits until all before this one have left. Cancel-safe.
    pub(crate) async fn is_first(&mut self) {
        while let Some(Ahead(ahead)) = &mut self.ahead {
            self.ahead = ahead.await.ok().flatten();
        }
    }
}

impl KeyPlace {
    /// Waits until all of its key before this one have left. Cancel-safe.
    pub(crate) async fn is_first(&mut self) {
        self.place.is_first().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(behind) = self.behind.take() {
            // Without anyone behind there is nothing to pass on.
            let _ = behind.send(self.ahead.take());
        }
    }
}

impl Drop for KeyPlace {
    fn drop(&mut self) {
        let mut keys = lock(&self.partitions.keys);
        if let Some(partition) = keys.get_mut(&self.key) {
            partition.members -= 1;
            if partition.members == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPlace")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_first(place: &mut KeyPlace) -> bool {
        place.is_first().now_or_never().is_some()
    }

    #[test]
    fn messages_of_one_key_go_one_after_the_other() {
        let partitions = Arc::new(Partitions::default());
        let [mut first, mut second, mut third] = [7, 7, 7].map(|key| partitions.join(key));
        let mut other = partitions.join(8);
        assert!(is_first(&mut first) && is_first(&mut other));
        assert!(!is_first(&mut second));
        drop(first);
        assert!(is_first(&mut second) && !is_first(&mut third));
    }

    #[test]
    fn one_that_leaves_while_it_waits_lets_no_other_overtake() {
        let partitions = Arc::new(Partitions::default());
        let [mut first, mut second, mut third] = [7, 7, 7].map(|key| partitions.join(key));
        assert!(is_first(&mut first) && !is_first(&mut second) && !is_first(&mut third));
        drop(second);
        assert!(!is_first(&mut third), "the first one still runs");
        drop(first);
        assert!(is_first(&mut third));
    }

    #[test]
    fn keys_without_messages_are_forgotten() {
        let partitions = Arc::new(Partitions::default());
        let [first, second] = [1, 1].map(|key| partitions.join(key));
        drop(first);
        assert_eq!(lock(&partitions.keys).len(), 1);
        drop(second);
        assert!(lock(&partitions.keys).is_empty());
    }
}
