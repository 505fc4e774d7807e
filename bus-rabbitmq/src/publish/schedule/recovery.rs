//! Loss of a channel or connection, passed deadlines, and the end of the schedule.
//!
//! A lost channel costs the messages on their way; knowledge of the targets stays, as the broker is
//! the same. A lost connection costs the knowledge too: the broker may have restarted without its
//! transient exchanges and queues, and a declaration is repeated at no harm.

use std::mem;

use bus_core::transport::Target;
use tokio::time::Instant;

use super::Schedule;
use crate::publish::pending::{PendingPublish, Standing};
use crate::publish::refusal::Refusal;
use crate::publish::route::{self, Route};

impl Schedule {
    /// Notes that the channel is lost; returns `true` if the cause was found.
    ///
    /// Everything else that was on its way is sent again.
    pub(crate) fn recover(&mut self, refusal: Option<&Refusal>) -> bool {
        let settled = self.unconfirmed.drain().settle(refusal, &mut self.gate);
        self.targets.all().for_each(|route| route.in_flight = 0);
        for target in settled.refused {
            match refusal {
                Some(refusal) if refusal.is_missing() => self.forget(&target),
                Some(refusal) if refusal.is_of_exchange() => {
                    let id = self.targets.find(&target);
                    self.held -= self.targets[id].deny(refusal);
                }
                _ => {}
            }
        }
        self.waiting.extend(settled.again);
        self.gather();
        settled.found
    }

    /// Puts all waiting messages in the order in which they were handed over.
    ///
    /// So those that were on their way come before those that their routes hold.
    fn gather(&mut self) {
        self.waiting
            .extend(self.targets.all().flat_map(Route::drain));
        self.held = 0;
        let waiting = self.waiting.make_contiguous();
        waiting.sort_by_key(|pending| pending.number);
    }

    /// Notes that an exchange no longer exists.
    fn forget(&mut self, target: &Target) {
        let id = self.targets.find(target);
        let was_known = self.targets[id].forget();
        let is_ours = !matches!(target, Target::Exchange { topology: None, .. });
        if was_known && is_ours {
            tracing::warn!(
                exchange = target.name(),
                "the exchange was deleted, and is declared again; queues that were bound to it get nothing until their \
                 subscribers bind them again"
            );
        }
    }

    /// Notes that the connection is lost, and with it every background task.
    pub(crate) fn disconnect(&mut self) {
        self.background_tasks.clear();
        self.ready.clear();
        self.first = None;
        self.gate.disconnect();
        // A broker that was unreachable may have come back with fewer exchanges and queues.
        for route in self.targets.all() {
            route.forget();
            (route.is_busy, route.is_listed) = (false, false);
        }
        self.gather();
    }

    /// Ends the messages whose deadline has passed.
    ///
    /// `why` is the reason why the broker cannot be reached, if it cannot.
    pub(crate) fn expire(&mut self, why: Option<&str>) {
        let now = Instant::now();
        self.unconfirmed.expire(now, why);
        if self.waiting.iter().any(|pending| pending.is_due(now)) {
            for pending in mem::take(&mut self.waiting) {
                if pending.is_due(now) {
                    let error = pending.not_sent(why.unwrap_or(route::NO_PLACE));
                    pending.finish(Err(error));
                } else {
                    self.waiting.push_back(pending);
                }
            }
        }
        if self.held > 0 {
            for route in self.targets.all() {
                self.held -= route.expire(now, why);
            }
        }
        if self.gate.needs_solitude() && !self.has_suspects() {
            self.gate.leave_solitude();
        }
    }

    /// Returns `true` if any message, on its way or not, is a suspect.
    fn has_suspects(&mut self) -> bool {
        let is_suspect =
            |pending: &PendingPublish| matches!(pending.standing, Standing::Suspect(_));
        self.unconfirmed.has_suspect()
            || self.waiting.iter().any(|pending| is_suspect(pending))
            || self
                .targets
                .all()
                .any(|route| route.messages().any(is_suspect))
    }

    /// Ends all messages without an outcome, as time is up; returns their number.
    pub(crate) fn close(&mut self) -> usize {
        self.recover(None);
        let ended = self.waiting.drain(..).map(|pending| {
            let error = pending.closed();
            pending.finish(Err(error));
        });
        ended.count()
    }
}
