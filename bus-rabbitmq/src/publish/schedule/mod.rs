//! Order in which messages are written, as plain data without a channel.
//!
//! The task feeds it with what happens and asks it what to do; it never waits, so that every course
//! of events can be replayed in a test.
//!
//! ```text
//!             take                 next
//!  senders ─────────► waiting ──────────────► depart ──► unconfirmed ──► confirm
//!                        │  target not ready     ▲                          │
//!                        ▼                       │ next_held                │ refused,
//!                     route ───► ready ──────────┘                          │ returned
//!                        ▲  nudge: declare, rest                            │
//!                        └──────────────────────────────────────────────────┘
//! ```
//!
//! # Invariants
//!
//! - Messages to one target are written in the order in which they were handed over; after a
//!   refusal, what was on its way with the refused message may overtake it.
//! - Messages to several targets are written in that order too, as long as each target can take
//!   them and is declared within [`GRACE`].
//! - At most `window` messages wait for their confirm, those that their senders gave up not
//!   counted.
//! - A route is busy for as long as a background task of it runs: one declaration or rest at a
//!   time.

mod recovery;

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use bus_core::transport::{Backoff, Target, TransportError};
use tokio::time::Instant;

use crate::convert::Confirmed;
use crate::publish::gate::Gate;
use crate::publish::pending::{PendingPublish, PendingPublishes, RouteId};
use crate::publish::route::Knowledge;
use crate::publish::targets::Targets;
use crate::publish::unconfirmed::Unconfirmed;

/// Time for which a declaration may hold up messages handed over later.
///
/// A declaration takes a few milliseconds, so the order across targets is kept in the usual case,
/// and a slow one costs the others no more than this.
const GRACE: Duration = Duration::from_millis(50);

/// First pause of a target that cannot take messages.
const FIRST_REST: Duration = Duration::from_millis(100);
/// Longest pause of such a target.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Messages of one confirm channel, from their handing over to their outcome.
pub(crate) struct Schedule {
    /// Bound of the number of messages that wait for their confirm.
    window: usize,
    /// Number of messages that were handed over.
    count: u64,
    /// Messages that are neither on their way nor held at a route, in order.
    waiting: PendingPublishes,
    unconfirmed: Unconfirmed,
    pub(crate) gate: Gate,
    targets: Targets,
    /// Number of messages that wait at their routes.
    held: usize,
    /// Routes with messages that may be written once there is a place.
    ready: VecDeque<RouteId>,
    /// Route whose declaration holds up all other writes, until a time.
    first: Option<(RouteId, Instant)>,
    background_tasks: Vec<BackgroundTask>,
}

/// Task to be done beside the writing.
pub(crate) enum BackgroundTask {
    /// Declaration, to be answered by [`declared`](Schedule::declared).
    Declare(RouteId, Target),
    /// Pause, to be answered by [`rested`](Schedule::rested).
    Rest(RouteId, Backoff),
    /// Wait until no other channel of the connection may have a suspect.
    ///
    /// To be answered by [`is_alone`](Gate::is_alone).
    Solitude,
}

impl Schedule {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            window,
            count: 0,
            waiting: PendingPublishes::new(),
            unconfirmed: Unconfirmed::default(),
            targets: Targets::new(),
            held: 0,
            ready: VecDeque::new(),
            first: None,
            gate: Gate::default(),
            background_tasks: Vec::new(),
        }
    }

    /// Returns `true` if every message has its outcome.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.held == 0 && self.unconfirmed.is_empty()
    }

    /// Takes a message that was handed over.
    ///
    /// A message that is sent again while its first write is not decided joins that one.
    pub(crate) fn take(&mut self, pending: Box<PendingPublish>) {
        if let Some(mut pending) = self.unconfirmed.rejoin(pending) {
            self.count += 1;
            pending.number = self.count;
            self.waiting.push_back(pending);
        }
    }

    /// Takes the background tasks that have to be done.
    pub(crate) fn background_tasks(&mut self) -> impl Iterator<Item = BackgroundTask> + use<> {
        if self.gate.seeks_solitude() {
            self.background_tasks.push(BackgroundTask::Solitude);
        }
        mem::take(&mut self.background_tasks).into_iter()
    }

    /// Takes the next message to write, if there is one that may be written.
    ///
    /// Held messages come first, as they were handed over before. The caller writes it and calls
    /// [`depart`](Self::depart); a message that is taken and not written would have no outcome.
    pub(crate) fn next(&mut self) -> Option<Box<PendingPublish>> {
        while self.free() > 0 {
            if let Some(pending) = self.next_held() {
                return Some(pending);
            }
            let pending = self.waiting.front()?;
            if self.is_declaring_first() || !self.gate.lets(pending, &self.unconfirmed) {
                return None;
            }
            let pending = self.waiting.pop_front()?;
            if pending.is_wanted()
                && let Some(pending) = self.admit(pending)
            {
                return Some(pending);
            }
        }
        None
    }

    /// Counts the places that are free.
    ///
    /// A message that its sender has given up takes a place of its own target only.
    fn free(&self) -> usize {
        self.window.saturating_sub(self.unconfirmed.awaited())
    }

    /// Takes the first message of a route that has room, each route in its turn.
    fn next_held(&mut self) -> Option<Box<PendingPublish>> {
        let mut looked_at = 0;
        while looked_at < self.ready.len() {
            let id = self.ready.pop_front()?;
            let free = self.free();
            let route = &mut self.targets[id];
            let (Some(first), true) = (route.first(), route.is_open()) else {
                route.is_listed = false;
                continue;
            };
            let may_go = route.has_room(free) && self.gate.lets(first, &self.unconfirmed);
            self.ready.push_back(id);
            if !may_go {
                looked_at += 1;
                continue;
            }
            let mut pending = self.targets[id].release()?;
            self.held -= 1;
            if pending.is_wanted() {
                pending.route = id;
                return Some(pending);
            }
        }
        None
    }

    /// Returns `true` while a declaration holds up all other writes.
    fn is_declaring_first(&self) -> bool {
        self.first.is_some_and(|(_, end)| Instant::now() < end)
    }

    /// Returns a message if it may be written now; else it waits at its route.
    ///
    /// A message to an exchange that the broker lets us not write to ends with an error.
    fn admit(&mut self, mut pending: Box<PendingPublish>) -> Option<Box<PendingPublish>> {
        let id = self.targets.find(&pending.outgoing.target);
        let (free, route) = (self.free(), &self.targets[id]);
        if let Some(refusal) = route.denial() {
            let error = refusal.error(&pending);
            pending.finish(Err(error));
            return None;
        }
        if route.is_open() && route.first().is_none() && route.has_room(free) {
            pending.route = id;
            return Some(pending);
        }
        self.hold(id, pending);
        None
    }

    /// Keeps a message at its route, and begins what the route needs.
    fn hold(&mut self, id: RouteId, pending: Box<PendingPublish>) {
        self.targets[id].hold(pending);
        self.held += 1;
        self.nudge(id);
    }

    /// Begins the next step that the messages of a route need.
    fn nudge(&mut self, id: RouteId) {
        let route = &mut self.targets[id];
        let Some(first) = route.first() else {
            return;
        };
        if route.is_busy {
            return;
        }
        if !route.is_known() {
            let target = first.outgoing.target.clone();
            route.is_busy = true;
            self.background_tasks
                .push(BackgroundTask::Declare(id, target));
            // A declaration that takes too long holds up the messages of its own route only.
            if route.trouble.is_none() {
                let end = || (id, Instant::now() + GRACE);
                self.first.get_or_insert_with(end);
            }
        } else if !route.is_listed {
            route.is_listed = true;
            self.ready.push_back(id);
        }
    }

    /// Takes the outcome of a declaration.
    pub(crate) fn declared(&mut self, id: RouteId, outcome: Result<(), TransportError>) {
        self.first.take_if(|(first, _)| *first == id);
        let route = &mut self.targets[id];
        route.is_busy = false;
        route.trouble = None;
        match outcome {
            Ok(()) => {
                route.knowledge = Knowledge::Found;
                route.backoff = None;
            }
            Err(error) if error.kind().is_transient() => {
                tracing::debug!(%error, "a declaration did not get through");
                route.trouble = Some(error.to_string());
                self.rest(id);
            }
            Err(error) => self.held -= route.fail(error),
        }
        self.nudge(id);
    }

    /// Pauses a route; its messages are held until the pause is over.
    fn rest(&mut self, id: RouteId) {
        let route = &mut self.targets[id];
        let backoff = route
            .backoff
            .take()
            .unwrap_or_else(|| Backoff::new(FIRST_REST, LONGEST_REST));
        route.is_busy = true;
        self.background_tasks
            .push(BackgroundTask::Rest(id, backoff));
    }

    /// Notes that a route may be tried again.
    pub(crate) fn rested(&mut self, id: RouteId, backoff: Backoff) {
        let route = &mut self.targets[id];
        route.is_busy = false;
        route.backoff = Some(backoff);
        self.nudge(id);
    }

    /// Notes that a message is written; returns its number among the unconfirmed ones.
    pub(crate) fn depart(&mut self, pending: Box<PendingPublish>) -> u64 {
        self.targets[pending.route].in_flight += 1;
        self.gate.passed(&pending);
        self.unconfirmed.insert(pending)
    }

    /// Notes that the broker has read this message, and all before it.
    pub(crate) fn clear(&mut self, order: u64) {
        self.unconfirmed.clear(order);
    }

    /// Takes a confirm.
    ///
    /// The place of the message is free for another one, and a target that takes messages gets more
    /// of them. A refused or returned message is treated at the end of the round.
    pub(crate) fn confirm(&mut self, order: u64, confirmed: Confirmed) {
        let acked = confirmed.acked;
        if let Some(id) = self.unconfirmed.confirm(order, confirmed) {
            let route = &mut self.targets[id];
            route.in_flight -= 1;
            if acked {
                route.speed_up(self.window);
            }
        }
    }

    /// Notes that every confirm that the client had was taken.
    pub(crate) fn end_round(&mut self) {
        self.unconfirmed.end_round();
        for mut pending in self.unconfirmed.returned() {
            pending.was_read();
            self.bring_back(pending);
        }
        for mut pending in self.unconfirmed.nacked() {
            pending.was_read();
            self.try_later(pending);
        }
    }

    /// Keeps a message that the broker refused for now, and those behind it.
    ///
    /// They are sent after a pause.
    fn try_later(&mut self, pending: Box<PendingPublish>) {
        let id = self.targets.find(&pending.outgoing.target);
        let route = &mut self.targets[id];
        route.slow_down();
        if !route.is_busy {
            self.rest(id);
        }
        self.hold(id, pending);
    }

    /// Declares the target of a returned message once more, where that may help.
    ///
    /// A queue or a binding may have been deleted since. Otherwise the message is unroutable.
    fn bring_back(&mut self, mut pending: Box<PendingPublish>) {
        let id = self.targets.find(&pending.outgoing.target);
        let route = &mut self.targets[id];
        if pending.was_declared_again {
            route.declared_in_vain();
        } else if pending.is_routed_by_topology() && route.may_be_declared_again() {
            (pending.was_declared_again, pending.returned) = (true, None);
            route.forget();
            self.hold(id, pending);
            return;
        }
        pending.unroutable();
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
