//! Rows of a partition on their way to the broker, in their order.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus_core::topology::Topology;
use tokio::time::Instant;

use super::held_back::{Place, rows_of};
use super::partition::{BATCH, GATHER, Partition};
use super::window::{Ready, RowPlace};
use crate::backend::Backend;
use crate::error::SqlError;
use crate::outgoing::message_of;
use crate::row::{BrokenRow, WaitingRow};
use crate::store::Waiting;

/// Ids before the last one that was read in which a commit may come late.
const LATE: i64 = 1000;

/// Ordering keys that are held back one by one; with more, nothing is read.
const KEYS: usize = 1000;

/// Longest time that one attempt waits for the broker.
const DEADLINE: Duration = Duration::from_secs(30);

impl<DB: Backend> Partition<DB> {
    /// Reads rows, and hands their messages over.
    pub(super) async fn read(&mut self) -> Result<(), SqlError> {
        if !self.reads() {
            return Ok(());
        }
        let held = self.held_back.now();
        if !self.held.is_subset(&held) {
            // What waited comes before what was not read yet.
            self.read = 0;
        }
        self.held = held;
        let mut without = rows_of(&self.held);
        if without.keys.len() > KEYS {
            // Until a hold is over.
            self.more = false;
            return Ok(());
        }
        without
            .rows
            .extend(self.window.ids().chain(self.left.iter().copied()));
        // Before the look: what is committed after it changes this again.
        self.commits.mark_unchanged();
        let after = if self.read == 0 {
            i64::MIN
        } else {
            self.read - LATE
        };
        let (pool, names) = (self.sql.pool(), self.sql.names());
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let rows = DB::waiting(pool, names, self.part, after, &without, limit).await?;
        if !self.lease.holds() {
            // The answer came late: another relay may have read these rows too.
            return Ok(());
        }
        self.more = rows.len() == BATCH;
        if !self.more {
            self.gathered = Instant::now() + GATHER;
        }
        self.send_all(rows).await
    }

    /// Hands over the messages of rows, in their order, as long as the lease is held.
    async fn send_all(&mut self, rows: Vec<Waiting>) -> Result<(), SqlError> {
        let mut behind = HashSet::new();
        for row in rows {
            let row = match row {
                Ok(row) => row,
                Err(BrokenRow { id, reason }) => {
                    self.read = self.read.max(id);
                    self.park(&RowPlace::unreadable(id), reason);
                    continue;
                }
            };
            let topology = match row.topology {
                Some(id) => self.topologies.find(&self.sql, id).await?,
                None => None,
            };
            // Looked at for each message, behind everything that waits: a process that was stopped
            // for longer than its lease goes on here, and the rows are another relay's.
            if !self.lease.holds() {
                self.more = true;
                break;
            }
            self.read = self.read.max(row.id);
            match &row.ordering_key {
                Some(key) if behind.contains(key) => {}
                Some(key) if self.is_held(&row) => {
                    self.held_back.hold_key(key, &row.destination);
                    behind.insert(key.clone());
                }
                _ => self.send(row, topology).await,
            }
        }
        Ok(())
    }

    /// Returns `true` if the destination of a row was held back when it was read.
    fn is_held(&self, row: &WaitingRow) -> bool {
        !self.held.is_empty()
            && self
                .held
                .contains(&Place::Destination(row.destination.clone()))
    }

    async fn send(&mut self, row: WaitingRow, topology: Option<Arc<Topology>>) {
        let place = Arc::new(RowPlace {
            id: row.id,
            key: row.ordering_key.clone(),
            destination: row.destination.clone(),
            attempts: row.attempts,
        });
        match message_of(row, topology) {
            Ok(mut message) if message.outgoing.ttl != Some(Duration::ZERO) => {
                // That of the sender has ended with its call: the row has all the time.
                message.deadline = DEADLINE;
                self.window.send(Ready { place, message }).await;
            }
            Ok(_) => {
                tracing::debug!(id = place.id, "a message has expired in the outbox");
                self.leave(place.id);
            }
            Err(error) => self.park(&place, error.to_string()),
        }
    }
}
