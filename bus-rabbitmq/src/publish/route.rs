//! One exchange or queue that messages go to: what is known of it, and what waits for it.

use std::mem;
use std::time::Duration;

use bus_core::transport::{Backoff, Target, TransportError};
use tokio::time::Instant;

use super::pending::{FULL, PendingPublish, PendingPublishes};
use super::refusal::Refusal;

/// Why a message waits that nothing else is in the way of.
pub(crate) const NO_PLACE: &str = "too many messages wait for their confirm";

/// The time for which an exchange that the broker lets us not write to is not tried again.
const DENIED: Duration = Duration::from_secs(5);

/// The number of messages that show whether the broker takes them again.
const ONE_FIRST: usize = 1;

/// The time after a declaration in vain for which no other one is made because a message came back.
const FRUITLESS: Duration = Duration::from_secs(1);

/// The way to one exchange or queue.
pub(crate) struct Route {
    pub(crate) knowledge: Knowledge,
    /// It is being declared, or rests until it is tried again.
    pub(crate) is_busy: bool,
    /// The schedule looks at it when there is a place.
    pub(crate) is_listed: bool,
    pub(crate) in_flight: usize,
    /// Few while the broker refuses what is sent there.
    limit: usize,
    /// In the order in which they were handed over.
    held: PendingPublishes,
    /// The reason why its last declaration failed, for now.
    pub(crate) trouble: Option<String>,
    pub(crate) backoff: Option<Backoff>,
    /// The broker takes nothing there.
    denied: Option<(Instant, Refusal)>,
    /// When a message came back although it was declared again.
    fruitless: Option<Instant>,
}

/// The state of an exchange on the broker, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// The default exchange always is, and routes to what is there.
    Given,
    Unknown,
    /// It was declared, or found.
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

    /// True if its next message may be written.
    pub(crate) fn is_open(&self) -> bool {
        self.is_known() && !self.is_busy
    }

    pub(crate) fn is_known(&self) -> bool {
        self.knowledge != Knowledge::Unknown
    }

    /// Forgets that it was found; true if it had been.
    pub(crate) fn forget(&mut self) -> bool {
        let was_found = self.knowledge == Knowledge::Found;
        if was_found {
            self.knowledge = Knowledge::Unknown;
        }
        was_found
    }

    /// True if its next message may take one of the places that are free.
    ///
    /// One target takes half of them, the next one half of the rest. So some are left however many
    /// of them never give theirs back; the last one goes to a target that has none.
    pub(crate) fn has_room(&self, free: usize) -> bool {
        self.in_flight == 0 || self.in_flight < self.limit && self.in_flight + 1 < free
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.held.is_empty() && self.in_flight == 0 && !self.is_busy && !self.is_listed
    }

    pub(crate) fn first(&self) -> Option<&PendingPublish> {
        self.held.front().map(|pending| &**pending)
    }

    /// Keeps a message until it can be written.
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

    pub(crate) fn release(&mut self) -> Option<Box<PendingPublish>> {
        self.held.pop_front()
    }

    /// Ends those that wait for a declaration like the first one's; counts them.
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

    /// Ends those whose time is up; counts them.
    ///
    /// `why` says why the broker cannot be reached, if it cannot.
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

    pub(crate) fn messages(&self) -> impl Iterator<Item = &PendingPublish> {
        self.held.iter().map(|pending| &**pending)
    }

    /// Notes that another declaration gave a message no way to a queue.
    pub(crate) fn declared_in_vain(&mut self) {
        self.fruitless = Some(Instant::now());
    }

    /// True if another declaration may help a message that came back.
    pub(crate) fn may_be_declared_again(&self) -> bool {
        self.fruitless
            .is_none_or(|since| since.elapsed() >= FRUITLESS)
    }

    /// Notes that the broker refused a message for now: the next one goes alone.
    pub(crate) fn slow_down(&mut self) {
        self.limit = ONE_FIRST;
    }

    /// Notes that the broker took a message: more may go at once, up to `window`.
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

    /// Ends what is held, and for a while what comes, as the broker takes nothing there; counts.
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

    /// Gives the broker's word for taking nothing there, while it is fresh.
    pub(crate) fn denial(&self) -> Option<&Refusal> {
        let (since, refusal) = self.denied.as_ref()?;
        (since.elapsed() < DENIED).then_some(refusal)
    }

    /// Takes everything that is held.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Box<PendingPublish>> + use<> {
        mem::take(&mut self.held).into_iter()
    }
}

/// True for a target that is only looked for, and never declared.
fn flavour(target: &Target) -> bool {
    matches!(target, Target::Exchange { topology: None, .. })
}
