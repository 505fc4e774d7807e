//! States in which a timeout or a request may still run.

use crate::definition::Definition;
use crate::reaction::{Note, Reaction};
use crate::saga::{Saga, SagaState};

/// Pairs of a state and a timer that may run in it.
type Live<S> = Vec<(<S as Saga>::State, usize)>;

impl<S: Saga> Definition<S> {
    /// Refuses timers that never start, and those whose events a state forgets.
    pub(crate) fn check_timers(&self, mistakes: &mut Vec<String>) {
        for (index, timer) in self.timers.iter().enumerate() {
            let starts = |it: &Reaction<S>| it.notes.contains(&Note::Starts(index));
            let reactions = self.reactions.iter();
            if !reactions.flat_map(Reaction::alternatives).any(starts) {
                let what = if timer.is_request {
                    "requested"
                } else {
                    "scheduled"
                };
                mistakes.push(format!("{} is never {what}", timer.label));
            }
        }
        if self.unexpected.is_some() {
            return;
        }
        let live = self.live();
        for &state in S::State::ALL {
            for (index, event) in self.events.iter().enumerate() {
                let timer = event.kind.timer();
                let may_come = timer.is_some_and(|timer| live.contains(&(state, timer)));
                if may_come && !self.is_named(state, index) {
                    mistakes.push(format!(
                        "{} may still come in {}: handle, ignore or postpone it there, or end it on the way",
                        event.label,
                        state.name()
                    ));
                }
            }
        }
    }

    fn is_named(&self, state: S::State, event: usize) -> bool {
        !self.reactions_in(state, event).is_empty()
            || !self.reactions_anywhere(event).is_empty()
            || self.settled_in(Some(state), event).is_some()
            || self.settled_in(None, event).is_some()
    }

    /// Follows the reactions until no timer reaches another state.
    fn live(&self) -> Live<S> {
        let mut live: Live<S> = Vec::new();
        for reaction in self.reactions.iter().filter(|it| it.from.is_initial()) {
            for reaction in reaction.alternatives() {
                self.carry(reaction, None, &mut live);
            }
        }
        loop {
            let before = live.len();
            for &state in S::State::ALL {
                for event in 0..self.events.len() {
                    let possible = self.possible_in(state, event).into_iter();
                    for reaction in possible.flat_map(Reaction::alternatives) {
                        self.carry(reaction, Some(state), &mut live);
                    }
                }
            }
            if live.len() == before {
                return live;
            }
        }
    }

    /// Adds what may run after a reaction.
    fn carry(&self, reaction: &Reaction<S>, from: Option<S::State>, live: &mut Live<S>) {
        let over = self.events[reaction.event].kind.timer();
        let running = live.iter().filter(|(state, _)| Some(*state) == from);
        let mut running: Vec<_> = running
            .map(|(_, timer)| *timer)
            .filter(|timer| Some(*timer) != over)
            .collect();
        for note in &reaction.notes {
            match *note {
                Note::Starts(timer) => running.push(timer),
                Note::Ends(timer) => running.retain(|it| *it != timer),
            }
        }
        for state in reaction.targets(from).into_iter().flatten() {
            for timer in &running {
                if !live.contains(&(state, *timer)) {
                    live.push((state, *timer));
                }
            }
        }
    }
}
