//! One exchange or queue that messages go to: its state and its waiting messages.
//!
//! ```text
//!  Unknown ──► being declared ──► Found ──► refusing for now ──► Found
//!     ▲              │ transient    │        (basic.nack)
//!     │              ▼              │         one message at a time,
//!     │            rests            │         then two, three, … up to the window
//!     └─────────────────────────────┘
//!       exchange gone, message returned, or connection lost
//! ```
//!
//! A target that is busy, refusing or over its share holds up its own messages only.

use std::mem;
use std::time::Duration;

use bus_core::transport::{Backoff, Target, TransportError};
use tokio::time::Instant;

use super::pending::{FULL, PendingPublish, PendingPublishes};
use super::refusal::Refusal;

/// Reason for the wait of a message that lacks nothing but a place.
pub(crate) const NO_PLACE: &str = "too many messages wait for their confirm";

/// Time for which an exchange that we may not write to is not tried again.
///
/// Each try costs the channel, and with it a new write of all that is on its way there.
const DENIED: Duration = Duration::from_secs(5);

/// Number of messages that test whether the broker takes messages again.
const ONE_FIRST: usize = 1;

/// Time after a declaration in vain for which a return causes no other one.
const FRUITLESS: Duration = Duration::from_secs(1);

/// Route to one exchange or queue.
pub(crate) struct Route {
    pub(crate) knowledge: Knowledge,
    /// `true` while it is being declared, or rests until it is tried again.
    pub(crate) is_busy: bool,
    /// `true` if the schedule looks at it when there is a place.
    pub(crate) is_listed: bool,
    /// Number of its messages that are written and not confirmed.
    pub(crate) in_flight: usize,
    /// Limit of messages on their way; low while the broker refuses messages there.
    ///
    /// `usize::MAX` means no limit but the window.
    limit: usize,
    /// Messages that wait, in the order in which they were handed over.
    held: PendingPublishes,
    /// Reason of the last declaration's failure, if it failed for now.
    pub(crate) trouble: Option<String>,
    /// Back-off of its rests, kept until the broker takes a message or a declaration.
    pub(crate) backoff: Option<Backoff>,
    /// Time and reason of the broker's refusal of every message to the exchange.
    denied: Option<(Instant, Refusal)>,
    /// Time of the last return of a message in spite of another declaration.
    fruitless: Option<Instant>,
}

/// State of an exchange on the broker, as far as it is known.
///
/// Nothing reports the deletion of an exchange or queue to a publisher, so knowledge is held until
/// a message shows otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// Default exchange, which always exists and routes to existing queues.
    Given,
    /// Exchange that is declared, or looked for, before anything is written to it.
    Unknown,
    /// Exchange that was declared, or found.
    Found,
}

impl Route {
    pub(crate) fn new(knowledge: Knowledge) -> Self {
        Self {
            knowledge,
            is_busy: false,
            is_listed: false,
            in_flight: 0,
            limit: usize::MAX,
            held: PendingPublishes::new(),
            trouble: None,
            backoff: None,
            denied: None,
            fruitless: None,
        }
    }

    /// Returns `true` if its next message may be written.
    pub(crate) fn is_open(&self) -> bool {
        self.is_known() && !self.is_busy
    }

    /// Returns `true` if its exchange is believed to exist.
    pub(crate) fn is_known(&self) -> bool {
        self.knowledge != Knowledge::Unknown
    }

    /// Forgets that it was found; returns `true` if it had been found.
    pub(crate) fn forget(&mut self) -> bool {
        let was_found = self.knowledge == Knowledge::Found;
        if was_found {
            self.knowledge = Knowledge::Unknown;
        }
        was_found
    }

    /// Returns `true` if its next message may take one of the free places.
    ///
    /// One target takes half of the places, the next one half of the rest. So some are left,
    /// however many targets never give theirs back; the last place goes to a target that has none.
    pub(crate) fn has_room(&self, free: usize) -> bool {
        self.in_flight == 0 || self.in_flight < self.limit && self.in_flight + 1 < free
    }

    /// Returns `true` if nothing is lost when the route is forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.in_flight == 0 && !self.is_busy && !self.is_listed
    }

    /// Returns the message that goes next.
    pub(crate) fn first(&self) -> Option<&PendingPublish> {
        self.held.front().map(|pending| &**pending)
    }

    /// Keeps a message until it can be written.
    ///
    /// Held messages stay in the order of their numbers: one that was refused comes back before
    /// those that were handed over after it.
    pub(crate) fn hold(&mut self, pending: Box<PendingPublish>) {
        let is_last = self
            .held
            .back()
            .is_none_or(|last| last.number < pending.number);
        if is_last {
            self.held.push_back(pending);
        } else {
            let place = self
                .held
                .partition_point(|held| held.number < pending.number);
            self.held.insert(place, pending);
        }
    }

    /// Takes the message that goes next.
    pub(crate) fn release(&mut self) -> Option<Box<PendingPublish>> {
        self.held.pop_front()
    }

    /// Ends the messages that wait for the same kind of declaration as the first one.
    ///
    /// It stops at the first one of another kind, and returns the number of those that ended.
    pub(crate) fn fail(&mut self, error: TransportError) -> usize {
        let Some(first) = self.release() else {
            return 0;
        };
        let flavour = flavour(&first.outgoing.target);
        let (kind, text) = (error.kind(), error.to_string());
        let error = if first.may_have_arrived {
            first.refused(kind, text.clone()).with_source(error)
        } else {
            error
        };
        first.finish(Err(error));
        let mut count = 1;
        while let Some(next) = self.first()
            && self::flavour(&next.outgoing.target) == flavour
            && let Some(pending) = self.release()
        {
            let error = pending.refused(kind, text.clone());
            pending.finish(Err(error));
            count += 1;
        }
        count
    }

    /// Ends the messages whose deadline has passed; returns their number.
    ///
    /// `why` is the reason why the broker cannot be reached, if it cannot.
    pub(crate) fn expire(&mut self, now: Instant, why: Option<&str>) -> usize {
        if !self.held.iter().any(|pending| pending.is_due(now)) {
            return 0;
        }
        let is_refusing = why.is_none() && self.is_known() && self.limit == ONE_FIRST;
        let own = match &self.trouble {
            Some(trouble) => trouble,
            None if !self.is_known() => "the broker did not answer a declaration",
            None if is_refusing => FULL,
            None => NO_PLACE,
        };
        let why = why.unwrap_or(own);
        let before = self.held.len();
        for pending in mem::take(&mut self.held) {
            if pending.is_due(now) {
                let error = if is_refusing && !pending.was_nacked {
                    pending.not_sent_behind()
                } else {
                    pending.not_sent(why)
                };
                pending.finish(Err(error));
            } else {
                self.held.push_back(pending);
            }
        }
        before - self.held.len()
    }

    /// Iterates over the held messages, in order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &PendingPublish> {
        self.held.iter().map(|pending| &**pending)
    }

    /// Notes that another declaration gave a message no route to a queue.
    pub(crate) fn declared_in_vain(&mut self) {
        self.fruitless = Some(Instant::now());
    }

    /// Returns `true` if another declaration may help a message that was returned.
    pub(crate) fn may_be_declared_again(&self) -> bool {
        self.fruitless
            .is_none_or(|since| since.elapsed() >= FRUITLESS)
    }

    /// Notes that the broker refused a message for now; the next one is sent alone.
    ///
    /// More of them at once would be refused as well, and overtake each other in their next try.
    pub(crate) fn slow_down(&mut self) {
        self.limit = ONE_FIRST;
    }

    /// Notes that the broker took a message; more may go at once, up to `window`.
    ///
    /// Each confirm allows one more, so the number doubles with each round.
    pub(crate) fn speed_up(&mut self, window: usize) {
        if self.limit == usize::MAX {
            return;
        }
        self.backoff = None;
        self.limit += 1;
        if self.limit > window {
            self.limit = usize::MAX;
        }
    }

    /// Ends the held messages, as the broker takes none there; returns their number.
    ///
    /// For a while, new ones end in the same way.
    pub(crate) fn deny(&mut self, refusal: &Refusal) -> usize {
        self.denied = Some((Instant::now(), refusal.clone()));
        let held = mem::take(&mut self.held);
        let count = held.len();
        for pending in held {
            let error = refusal.error(&pending);
            pending.finish(Err(error));
        }
        count
    }

    /// Returns the broker's reason for taking no message there, while it is recent.
    pub(crate) fn denial(&self) -> Option<&Refusal> {
        let (since, refusal) = self.denied.as_ref()?;
        (since.elapsed() < DENIED).then_some(refusal)
    }

    /// Takes all held messages.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Box<PendingPublish>> + use<> {
        mem::take(&mut self.held).into_iter()
    }
}

/// Returns `true` for a target that is only looked for, and never declared.
fn flavour(target: &Target) -> bool {
    matches!(target, Target::Exchange { topology: None, .. })
}
