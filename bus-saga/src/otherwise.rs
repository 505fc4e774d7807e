//! Alternatives to a reaction that fails.

use crate::on::{Draft, Led, On};
use crate::reaction::{Origin, Reaction};
use crate::saga::Saga;

impl<S: Saga, M: Send + Sync + 'static> On<S, M, Led> {
    /// Reacts otherwise if a step fails.
    ///
    /// Data, timeouts and messages are as before the reaction then, and
    /// [`Step::error`](crate::Step::error) is its error. The message has not failed: neither a
    /// retry nor a fault follows. A conflict, or something that is away, is no failure. Where a
    /// statement in the transaction of the event may fail, it needs a savepoint, as PostgreSQL ends
    /// the transaction otherwise.
    pub fn or_else(mut self, reaction: impl FnOnce(On<S, M>) -> Self) -> Self {
        let mut otherwise = reaction(On::new(self.draft.timers.clone())).draft;
        self.draft.mistakes.append(&mut otherwise.mistakes);
        if otherwise.guard.is_some() {
            let text = "a condition has no effect in or_else".to_owned();
            self.draft.mistakes.push(text);
        }
        let mut last = &mut self.draft.otherwise;
        while let Some(next) = last {
            last = &mut next.otherwise;
        }
        *last = Some(Box::new(otherwise));
        self
    }
}

impl<S: Saga> Draft<S> {
    /// Returns the reaction to an event in these states.
    pub(crate) fn reaction(self, event: usize, from: Origin<S::State>) -> Reaction<S> {
        let otherwise = self.otherwise;
        let otherwise = otherwise.map(|it| Box::new(it.reaction(event, from.clone())));
        Reaction {
            event,
            from,
            guard: self.guard,
            steps: self.steps,
            leads: self.leads,
            notes: self.notes,
            otherwise,
        }
    }
}
