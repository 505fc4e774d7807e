//! The relay of one partition.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus_core::SendError;
use bus_core::background::StopSignal;
use bus_core::error::SendErrorKind;
use bus_core::send::Sender;
use bus_core::transport::Backoff;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::held_back::{HeldBack, Place};
use super::lease::Lease;
use super::topologies::Topologies;
use super::trouble::Troubles;
use super::window::{Outcome, RowPlace, Window};
use crate::backend::Backend;
use crate::error::SqlError;
use crate::sql::Sql;

/// Rows that are read at once.
pub(super) const BATCH: usize = 500;

/// Messages on their way at once.
const WINDOW: usize = 1000;

/// Rows that are deleted at once, unless `GATHER` is over or all have left.
const DELETED: usize = 250;

/// Time in which rows gather before a statement on them.
///
/// For deletions, and for reads while messages are on their way: a statement costs the database as
/// much as several rows do.
pub(super) const GATHER: Duration = Duration::from_millis(5);

/// Attempts that are refused before a row is parked.
const ATTEMPTS: i16 = 3;

/// Time for what is on its way when the bus stops.
const STOPPING: Duration = Duration::from_secs(5);

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The relay of one partition.
pub(super) struct Partition<DB: Backend> {
    pub(super) part: i16,
    pub(super) sql: Sql<DB>,
    pub(super) troubles: Arc<Troubles>,
    pub(super) commits: watch::Receiver<u64>,
    pub(super) lease: Lease,
    pub(super) window: Window,
    pub(super) held_back: HeldBack,
    /// First end of a hold, as it was at the last wait.
    pub(super) hold: Option<Instant>,
    /// Places that were held back at the last read.
    pub(super) held: HashSet<Place>,
    pub(super) topologies: Topologies,
    /// Last id that was read; rows before it are looked for again from time to time.
    pub(super) read: i64,
    /// `true` if there may be rows that were not read.
    pub(super) more: bool,
    /// Time before which nothing is read while messages are on their way.
    pub(super) gathered: Instant,
    /// Next time at which all rows are looked for, and what is due.
    pub(super) look: Instant,
    /// Commits of scheduled messages before the last look.
    pub(super) scheduled: u64,
    /// Rows that have left, and the time at which they are deleted.
    pub(super) left: Vec<i64>,
    pub(super) delete: Option<Instant>,
    /// Rows that were refused.
    pub(super) refused: Vec<i64>,
    /// Rows to park, with the reason.
    pub(super) parked: Vec<(i64, String)>,
}

impl<DB: Backend> Partition<DB> {
    pub(super) fn new(part: i16, sql: Sql<DB>, sender: Sender, troubles: Arc<Troubles>) -> Self {
        Self {
            part,
            troubles,
            commits: sql.shared().wake.commits(),
            sql,
            lease: Lease::new(part),
            window: Window::new(sender),
            held_back: HeldBack::default(),
            hold: None,
            held: HashSet::new(),
            topologies: Topologies::default(),
            read: 0,
            more: true,
            gathered: Instant::now(),
            look: Instant::now(),
            scheduled: 0,
            left: Vec::new(),
            delete: None,
            refused: Vec::new(),
            parked: Vec::new(),
        }
    }

    /// Relays until the stop; waits for a database or a broker that is away.
    pub(super) async fn run(mut self, stop: &StopSignal) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while !stop.is_requested() {
            let round = tokio::select! {
                biased;
                () = stop.requested() => break,
                round = self.round() => round,
            };
            match round {
                Ok(()) => {
                    backoff.reset();
                    self.note_well();
                }
                Err(error) => {
                    self.note_away(&error);
                    tokio::select! {
                        () = stop.requested() => {}
                        () = backoff.wait() => {}
                    }
                }
            }
        }
        self.finish().await;
    }

    /// One round; after an error, the next one goes on where it ended.
    async fn round(&mut self) -> Result<(), SqlError> {
        self.settle().await?;
        if self.lease.keep(&self.sql).await? {
            // Another relay may have sent what was read under a lease before this one.
            self.window.let_go();
            self.look = Instant::now();
        }
        if self.lease.holds() {
            self.look_again().await?;
            self.read().await?;
        }
        self.wait().await;
        Ok(())
    }

    /// Looks for what is due, and for all rows, when it is time.
    async fn look_again(&mut self) -> Result<(), SqlError> {
        let (now, scheduled) = (Instant::now(), self.sql.shared().wake.scheduled());
        if now < self.look && scheduled == self.scheduled {
            return Ok(());
        }
        self.scheduled = scheduled;
        let (pool, names) = (self.sql.pool(), self.sql.names());
        DB::move_due(pool, names, self.part).await?;
        let due = DB::next_due(pool, names, self.part).await?;
        self.look = now + due.map_or(DB::POLL, |due| due.min(DB::POLL));
        self.held_back.forget();
        self.read = 0;
        self.more = true;
        Ok(())
    }

    /// Returns `true` if there may be rows to read, and room for them.
    fn has_room(&self) -> bool {
        self.more && self.lease.holds() && WINDOW - self.window.len() >= BATCH
    }

    /// Returns `true` if rows are read now.
    pub(super) fn reads(&self) -> bool {
        self.has_room() && (self.window.is_empty() || self.gathered <= Instant::now())
    }

    /// Waits for outcomes, commits, or the time at which something is to be done.
    async fn wait(&mut self) {
        if self.hold.is_some_and(|end| end <= Instant::now()) {
            (self.read, self.more) = (0, true);
        }
        self.hold = self.held_back.next();
        if self.reads() {
            return self.take_ready().await;
        }
        let mut next = self.lease.next();
        if self.lease.holds() {
            let gathered = self.has_room().then_some(self.gathered);
            let others = [Some(self.look), self.delete, self.hold, gathered];
            next = others.into_iter().flatten().fold(next, Instant::min);
        }
        tokio::select! {
            outcome = self.window.next() => {
                self.note(outcome).await;
                self.take_ready().await;
            }
            changed = self.commits.changed() => self.more |= changed.is_ok(),
            () = sleep_until(next) => {}
        }
    }

    async fn take_ready(&mut self) {
        while let Some(outcome) = self.window.ready() {
            self.note(outcome).await;
        }
    }

    async fn note(&mut self, (place, outcome): Outcome) {
        let has_left = outcome.is_ok();
        match outcome {
            Ok(()) => {
                self.leave(place.id);
                if !self.held_back.is_empty() {
                    self.held_back.release(&place.destination());
                    self.held_back.release(&place.own());
                }
            }
            Err(error) => self.note_failure(&place, &error),
        }
        let goes_on = has_left && self.lease.holds();
        if has_left && !goes_on {
            // Those behind it are another relay's, or read again.
            (self.read, self.more) = (self.read.min(place.id), true);
        }
        self.window.settle(&place, goes_on).await;
    }

    pub(super) fn leave(&mut self, id: i64) {
        self.left.push(id);
        self.delete.get_or_insert_with(|| Instant::now() + GATHER);
    }

    fn note_failure(&mut self, place: &RowPlace, error: &SendError) {
        if error.is_transient() || error.kind() == SendErrorKind::Closed {
            self.held_back.hold(place.destination());
            // Others of the destination may get through, and end that hold.
            if error.kind() == SendErrorKind::Nacked || place.key.is_some() {
                self.held_back.hold(place.own());
            }
            let trouble = format!("`{}` takes no messages: {error}", place.destination);
            if self.troubles.note(self.part, trouble) {
                tracing::warn!(destination = place.destination, %error, "messages of the outbox wait");
            }
        } else if place.attempts + 1 >= ATTEMPTS {
            self.park(place, error.to_string());
        } else {
            self.refused.push(place.id);
            self.held_back.hold(place.own());
        }
        // Those behind it are read again.
        self.read = self.read.min(place.id - 1);
    }

    pub(super) fn park(&mut self, place: &RowPlace, reason: String) {
        tracing::error!(
            id = place.id,
            destination = place.destination,
            reason,
            "a message of the outbox cannot be sent and is parked"
        );
        self.held_back.release(&place.own());
        self.parked.push((place.id, reason));
    }

    /// Brings the table to what has become of the messages.
    async fn settle(&mut self) -> Result<(), SqlError> {
        let (pool, names, part) = (self.sql.pool(), self.sql.names(), self.part);
        let is_due = self.delete.is_some_and(|at| at <= Instant::now());
        if is_due || self.left.len() >= DELETED || self.window.is_empty() && !self.left.is_empty() {
            DB::delete(pool, names, part, &self.left).await?;
            self.left.clear();
            self.delete = None;
        }
        if !self.refused.is_empty() {
            DB::count_attempt(pool, names, part, &self.refused).await?;
            self.refused.clear();
        }
        while let Some((id, reason)) = self.parked.last() {
            DB::park(pool, names, part, *id, reason).await?;
            self.parked.pop();
        }
        Ok(())
    }

    /// Waits for what is on its way, and gives the lease back.
    async fn finish(&mut self) {
        let ended = timeout(STOPPING, async {
            while !self.window.is_empty() {
                let outcome = self.window.next().await;
                self.note(outcome).await;
            }
        });
        if ended.await.is_err() {
            tracing::warn!(
                messages = self.window.len(),
                "messages of the outbox are on their way as the bus stops; they may be sent again"
            );
        }
        self.delete = Some(Instant::now());
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "messages that have left stay in the outbox, and will be sent again");
        }
        self.lease.release(&self.sql).await;
    }

    fn note_well(&self) {
        if self.held_back.is_empty() && self.troubles.clear(self.part) {
            tracing::info!(part = self.part, "messages of the outbox are sent again");
        }
    }

    fn note_away(&self, error: &SqlError) {
        if self.troubles.note_away(self.part, error) {
            tracing::warn!(%error, part = self.part, "the relay of the outbox waits for the database");
        }
    }
}
