//! Messages that wait for their confirm, and those that the broker returned.
//!
//! With `mandatory`, RabbitMQ sends `basic.return` before the `basic.ack` of the same message. The
//! client keeps returns in a list of its own, and hands the oldest one out with the confirm that is
//! taken next, so a return may come with the confirm of another message:
//!
//! ```text
//!  broker:   return(2)  ack(1,2)
//!  client:   confirm(1) + return(2)     confirm(2)
//!  here:     1 undecided; 2 returned    no return: none is left in the client, so 1 is routed
//! ```
//!
//! A mark in a private header names the message that a return belongs to. A message without a
//! return is decided by one of these:
//!
//! - its own confirm, or one of a later round, came without a return;
//! - nothing is on its way any more, so no return can be either.
//!
//! ```text
//!  insert ──► place ──► confirm ─┬─ acked, not mandatory ────────────► Ok
//!               │                ├─ acked, mandatory ──► undecided ──► Ok at the end of a round
//!               │                ├─ acked, returned ─────────────────► returned()
//!               │                └─ nacked ──────────────────────────► nacked()
//!               └─ channel lost ─► drain(): sent again, or the cause
//! ```

use std::collections::VecDeque;
use std::mem;

use bus_core::transport::{TransportError, TransportErrorKind};
use tokio::time::Instant;

use super::pending::{PendingPublish, PendingPublishes, RouteId, Standing};
use crate::convert::{Confirmed, Returned};

/// Messages that were on their way on a lost channel, in the order of writing.
pub(crate) struct Lost {
    /// Confirmed messages that may have been returned.
    pub(crate) confirmed: PendingPublishes,
    /// Messages that the broker may have read or not.
    pub(crate) unconfirmed: PendingPublishes,
}

/// Messages that are written and not confirmed, in the order of writing.
///
/// The broker returns a message before it confirms it, and the client hands out one return with
/// each confirm, oldest first. So a confirm without a return shows that the returns of its own
/// message and of all messages confirmed before it, if there are any, were handed out with earlier
/// confirms. Confirms are not always taken in the order in which the client received them, though.
/// A message that may be returned is therefore decided at the end of a round, when all confirms
/// that the client has were taken.
#[derive(Default)]
pub(crate) struct Unconfirmed {
    /// Number of the first place.
    ///
    /// It grows without end, so that no late confirm finds the place of another message.
    first: u64,
    /// Messages in the order of writing.
    ///
    /// A confirmed message leaves its place empty until all before it are confirmed.
    places: VecDeque<Option<Box<PendingPublish>>>,
    /// Number of places that are taken.
    taken: usize,
    /// Confirmed messages that may have been returned.
    undecided: Vec<Undecided>,
    /// Number of undecided messages, from the first on, confirmed in earlier rounds.
    earlier: usize,
    /// `true` if a confirm of this round came without a return.
    none_waiting: bool,
    /// Returned messages that wait to be taken.
    returned: PendingPublishes,
    /// Refused messages that wait to be taken.
    nacked: PendingPublishes,
    /// Number of unconfirmed messages whose deadline has passed.
    expired: usize,
    /// Number of undecided messages whose deadline has passed.
    lapsed: usize,
}

/// Confirmed message whose return may still be in the client.
struct Undecided {
    pending: Box<PendingPublish>,
    /// `true` if its own confirm came without a return.
    none_waiting: bool,
}

impl Unconfirmed {
    /// Counts the messages that a sender waits for.
    pub(crate) fn awaited(&self) -> usize {
        self.taken - self.expired
    }

    /// Returns `true` if no confirm is awaited.
    pub(crate) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// Puts a message at the next place; returns the number of the place.
    pub(crate) fn insert(&mut self, pending: Box<PendingPublish>) -> u64 {
        self.places.push_back(Some(pending));
        self.taken += 1;
        self.first + self.places.len() as u64 - 1
    }

    /// Takes a message from its place, and drops the empty places at the front.
    fn remove(&mut self, order: u64) -> Option<Box<PendingPublish>> {
        let place = usize::try_from(order.checked_sub(self.first)?).ok()?;
        let pending = self.places.get_mut(place)?.take()?;
        self.taken -= 1;
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        Some(pending)
    }

    /// Takes a confirm; returns the route of its message.
    ///
    /// `None` for a place that was confirmed before, or that was drained.
    pub(crate) fn confirm(&mut self, order: u64, confirmed: Confirmed) -> Option<RouteId> {
        let mut pending = self.remove(order)?;
        let route = pending.route;
        self.expired -= usize::from(pending.is_expired());
        let none_waiting = confirmed.returned.is_none();
        self.none_waiting |= none_waiting;
        if let Some(returned) = confirmed.returned {
            if pending.mark == Some(returned.mark) {
                pending.returned = Some(returned.reason);
            } else {
                self.attribute(returned);
            }
        }
        if !confirmed.acked {
            self.refuse(pending);
        } else if pending.returned.is_some() || pending.mark.is_none() {
            self.decide(pending);
        } else {
            self.lapsed += usize::from(pending.is_expired());
            self.undecided.push(Undecided {
                pending,
                none_waiting,
            });
        }
        Some(route)
    }

    /// Ends a round, and with it decides the messages that can be decided.
    ///
    /// Every confirm that the client had when the last one of the round was taken has been taken.
    pub(crate) fn end_round(&mut self) {
        let all = self.is_empty();
        let earlier = if mem::take(&mut self.none_waiting) {
            self.earlier
        } else {
            0
        };
        let mut index = 0;
        let decided = self.undecided.extract_if(.., |undecided| {
            index += 1;
            all || undecided.none_waiting || index <= earlier
        });
        for Undecided { pending, .. } in decided {
            self.lapsed -= usize::from(pending.is_expired());
            // A return would have been attributed to it.
            pending.finish(Ok(()));
        }
        self.earlier = self.undecided.len();
    }

    /// Credits a return to the message with its mark.
    ///
    /// A mark that fits none belongs to a message that its channel's loss has ended.
    fn attribute(&mut self, returned: Returned) {
        let is_it = |pending: &PendingPublish| pending.mark == Some(returned.mark);
        if let Some(pending) = self
            .places
            .iter_mut()
            .flatten()
            .find(|pending| is_it(pending))
        {
            pending.returned = Some(returned.reason);
        } else if let Some(index) = self.undecided.iter().position(|it| is_it(&it.pending)) {
            let mut pending = self.undecided.remove(index).pending;
            self.earlier -= usize::from(index < self.earlier);
            self.lapsed -= usize::from(pending.is_expired());
            pending.returned = Some(returned.reason);
            self.decide(pending);
        }
    }

    /// Ends a message that was routed, or keeps a returned one to be taken.
    fn decide(&mut self, pending: Box<PendingPublish>) {
        if pending.returned.is_none() {
            pending.finish(Ok(()));
        } else if !pending.is_expired() {
            self.returned.push_back(pending);
        }
    }

    /// Keeps a message that the broker refused for now to be taken.
    ///
    /// One whose sender has its outcome is dropped: nothing would be gained by another try.
    fn refuse(&mut self, mut pending: Box<PendingPublish>) {
        if !pending.is_expired() {
            pending.was_nacked = true;
            self.nacked.push_back(pending);
        }
    }

    /// Takes the messages that the broker refused for now.
    pub(crate) fn nacked(&mut self) -> PendingPublishes {
        mem::take(&mut self.nacked)
    }

    /// Takes the messages that the broker returned.
    pub(crate) fn returned(&mut self) -> PendingPublishes {
        mem::take(&mut self.returned)
    }

    /// Reports the timeout of the messages whose deadline has passed.
    ///
    /// They keep their places, as the broker may still take them. `why` is the reason why the
    /// broker cannot be reached, if it cannot.
    pub(crate) fn expire(&mut self, now: Instant, why: Option<&str>) {
        let timed_out = |pending: &mut PendingPublish, what: &str| {
            let (target, why) = (pending.target(), why.map(|why| format!(": {why}")));
            let text = format!(
                "RabbitMQ has not {what} the message to {target} in time; it may have arrived{}",
                why.unwrap_or_default()
            );
            pending.expire(TransportError::new(TransportErrorKind::TimedOut, text));
        };
        for pending in self.places.iter_mut().flatten() {
            if pending.is_due(now) {
                timed_out(pending, "confirmed");
                self.expired += 1;
            }
        }
        for undecided in &mut self.undecided {
            if undecided.pending.is_due(now) {
                timed_out(&mut undecided.pending, "said what became of");
                self.lapsed += 1;
            }
        }
    }

    /// Joins a message that is sent again with its copy that is still on its way.
    ///
    /// Returns the message if there is no such copy.
    pub(crate) fn rejoin(&mut self, pending: Box<PendingPublish>) -> Option<Box<PendingPublish>> {
        if self.expired + self.lapsed == 0 {
            return Some(pending);
        }
        let mut places = self.places.iter_mut().flatten();
        if let Some(other) = places.find(|other| other.is_same(&pending)) {
            other.rejoin(*pending);
            self.expired -= 1;
            return None;
        }
        let mut undecided = self.undecided.iter_mut();
        if let Some(other) = undecided.find(|other| other.pending.is_same(&pending)) {
            other.pending.rejoin(*pending);
            self.lapsed -= 1;
            return None;
        }
        Some(pending)
    }

    /// Returns `true` if a suspect is on its way, and not known to be read.
    pub(crate) fn has_suspect(&self) -> bool {
        let mut messages = self.places.iter().flatten();
        messages.any(|pending| matches!(pending.standing, Standing::Suspect(_)))
    }

    /// Notes that the broker has read this message, and all before it.
    pub(crate) fn clear(&mut self, order: u64) {
        let place = order.checked_sub(self.first);
        let place = place.and_then(|place| usize::try_from(place).ok());
        if let Some(Some(pending)) = place.and_then(|place| self.places.get_mut(place)) {
            pending.standing = Standing::Cleared;
        }
    }

    /// Takes all messages that were on their way on a lost channel.
    ///
    /// Returns that were not handed out are lost with the channel.
    pub(crate) fn drain(&mut self) -> Lost {
        self.earlier = 0;
        self.none_waiting = false;
        self.expired = 0;
        self.lapsed = 0;
        self.taken = 0;
        self.first += self.places.len() as u64;
        let undecided = mem::take(&mut self.undecided).into_iter();
        Lost {
            confirmed: undecided.map(|undecided| undecided.pending).collect(),
            unconfirmed: mem::take(&mut self.places).into_iter().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
