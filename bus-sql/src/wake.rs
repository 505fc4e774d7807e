//! Wakes relays when something was committed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::Pool;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, watch};

use crate::backend::Backend;
use crate::names::Names;

/// Pause after each notification of other processes: a hundred a second at most.
const PAUSE: Duration = Duration::from_millis(10);

const IDLE: u8 = 0;
const NOTIFYING: u8 = 1;
const AGAIN: u8 = 2;

/// The relays of this process, and the notifications of others.
#[derive(Debug)]
pub(crate) struct Wake {
    commits: watch::Sender<u64>,
    /// Commits of messages that are due later.
    scheduled: AtomicU64,
    /// Partitions whose relay is in this process.
    here: Mutex<BTreeSet<i16>>,
    notifier: AtomicU8,
    /// Changes of recurring messages.
    recurring: Notify,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            commits: watch::Sender::new(0),
            scheduled: AtomicU64::new(0),
            here: Mutex::default(),
            notifier: AtomicU8::new(IDLE),
            recurring: Notify::new(),
        }
    }
}

impl Wake {
    /// Wakes the relays of this process.
    pub(crate) fn wake(&self) {
        self.commits
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Counts a commit of messages that are due later.
    pub(crate) fn schedule(&self) {
        self.scheduled.fetch_add(1, Ordering::Release);
    }

    /// The number of such commits.
    pub(crate) fn scheduled(&self) -> u64 {
        self.scheduled.load(Ordering::Acquire)
    }

    /// Notes that a recurring message was changed in this process.
    pub(crate) fn recur(&self) {
        self.recurring.notify_waiters();
    }

    /// Ends at the next such change from now on.
    pub(crate) fn recurs(&self) -> Notified<'_> {
        self.recurring.notified()
    }

    /// Changes with each commit from now on.
    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Notes whether the relay of a partition is in this process.
    pub(crate) fn relayed_here(&self, part: i16, is_here: bool) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        if is_here {
            here.insert(part);
        } else {
            here.remove(&part);
        }
    }

    /// Returns the number of partitions whose relay is in this process.
    pub(crate) fn partitions_here(&self) -> usize {
        self.here
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Returns `true` if the relay of a partition is in this process.
    pub(crate) fn is_here(&self, part: i16) -> bool {
        let here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.contains(&part)
    }

    /// Returns `true` if the caller has to run [`notify`](Self::notify).
    pub(crate) fn ask_to_notify(&self) -> bool {
        let next = |state| Some(if state == IDLE { NOTIFYING } else { AGAIN });
        let before = self
            .notifier
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        before == Ok(IDLE)
    }

    /// Notifies other processes, again as long as there is a reason.
    ///
    /// Never in a transaction with other work: its commit would wait for that of each other one
    /// that notifies.
    pub(crate) async fn notify<DB: Backend>(&self, pool: &Pool<DB>, names: &Names) {
        loop {
            self.notifier.store(NOTIFYING, Ordering::Release);
            if let Err(error) = DB::notify(pool, names).await {
                tracing::debug!(%error, "relays of other processes are not notified; they look by themselves");
            }
            tokio::time::sleep(PAUSE).await;
            let done = (NOTIFYING, IDLE);
            let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
            if self
                .notifier
                .compare_exchange(done.0, done.1, order, failed)
                .is_ok()
            {
                return;
            }
        }
    }
}
