//! Routes by the names of their targets.
//!
//! An exchange, the queue of a send and a reply queue of one name are three targets: they are
//! written to different exchanges, and declared in different ways.

use std::collections::HashMap;
use std::ops::{Index, IndexMut};

use bus_core::transport::Target;

use super::pending::RouteId;
use super::route::{Knowledge, Route};

/// Number of targets at which unused ones are forgotten.
const MANY: usize = 1000;

/// Routes to all targets.
///
/// Identified by index, so that messages on their way need no name.
pub(crate) struct Targets {
    exchanges: HashMap<Box<str>, RouteId>,
    queues: HashMap<Box<str>, RouteId>,
    inboxes: HashMap<Box<str>, RouteId>,
    routes: Vec<Route>,
    /// Indexes of forgotten routes, to be used again.
    spare: Vec<RouteId>,
    /// Number of routes at which unused ones are looked for next.
    many: usize,
}

impl Targets {
    pub(crate) fn new() -> Self {
        Self {
            exchanges: HashMap::new(),
            queues: HashMap::new(),
            inboxes: HashMap::new(),
            routes: Vec::new(),
            spare: Vec::new(),
            many: MANY,
        }
    }

    /// Returns the route to a target, and creates it if there is none.
    pub(crate) fn find(&mut self, target: &Target) -> RouteId {
        if let Some(id) = self.names(target).get(target.name()) {
            return *id;
        }
        let route = Route::new(match target {
            Target::Inbox(_) => Knowledge::Given,
            Target::Exchange { .. } | Target::Queue(_) => Knowledge::Unknown,
        });
        self.forget_idle();
        let id = self.spare.pop().unwrap_or(self.routes.len());
        if id == self.routes.len() {
            self.routes.push(route);
        } else {
            self.routes[id] = route;
        }
        self.names(target).insert(target.name().into(), id);
        id
    }

    /// Names of the targets of this kind.
    fn names(&mut self, target: &Target) -> &mut HashMap<Box<str>, RouteId> {
        match target {
            Target::Exchange { .. } => &mut self.exchanges,
            Target::Queue(_) => &mut self.queues,
            Target::Inbox(_) => &mut self.inboxes,
        }
    }

    /// Forgets targets that no message goes to, unless they were declared or found.
    ///
    /// Names of queues, and of exchanges that do not exist, come from untrusted senders as well.
    fn forget_idle(&mut self) {
        if self.routes.len() - self.spare.len() < self.many {
            return;
        }
        let (routes, spare) = (&self.routes, &mut self.spare);
        for names in [&mut self.exchanges, &mut self.queues, &mut self.inboxes] {
            names.retain(|_, id| {
                let route = &routes[*id];
                let keep = !route.is_idle() || route.knowledge == Knowledge::Found;
                if !keep {
                    spare.push(*id);
                }
                keep
            });
        }
        self.many = MANY.max(2 * (self.routes.len() - self.spare.len()));
    }

    /// Iterates over all routes, forgotten ones included; those hold nothing.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Route> {
        self.routes.iter_mut()
    }
}

impl Index<RouteId> for Targets {
    type Output = Route;

    fn index(&self, id: RouteId) -> &Route {
        &self.routes[id]
    }
}

impl IndexMut<RouteId> for Targets {
    fn index_mut(&mut self, id: RouteId) -> &mut Route {
        &mut self.routes[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_untrusted_senders_are_not_kept() {
        let mut targets = Targets::new();
        let kept = targets.find(&Target::Queue("known".into()));
        targets[kept].knowledge = Knowledge::Found;
        for number in 0..10 * MANY {
            targets.find(&Target::Inbox(format!("inbox-{number}").into()));
            let name = format!("exchange-{number}").into();
            targets.find(&Target::Exchange {
                name,
                topology: None,
            });
        }
        assert!(targets.routes.len() <= 2 * MANY, "{}", targets.routes.len());
        assert_eq!(targets.find(&Target::Queue("known".into())), kept);
        assert!(targets[kept].is_known());
    }

    #[test]
    fn a_queue_and_an_exchange_of_one_name_are_two_targets() {
        let mut targets = Targets::new();
        let queue = targets.find(&Target::Queue("x".into()));
        let inbox = targets.find(&Target::Inbox("x".into()));
        assert_ne!(queue, inbox);
        assert!(targets[inbox].is_known() && !targets[queue].is_known());
    }
}
