//! Mistakes of a state machine, found before anything runs.

use std::collections::HashSet;

use crate::definition::{Definition, EventKind};
use crate::machine::StateMachine;
use crate::reaction::{Leads, Reaction};
use crate::saga::{Saga, SagaState};

impl<S: Saga> StateMachine<S> {
    /// Returns the mistakes of the machine: none if it can run.
    ///
    /// A bus whose endpoint has the saga reports them before it connects; a unit test finds them
    /// without a bus. Beside what the compiler refuses, these are mistakes:
    ///
    /// - a pair of state and event that is not handled, ignored or postponed, unless
    ///   [`unexpected`](Self::unexpected) says what follows
    /// - two reactions to one event in one state without a condition, or only some with one
    /// - a state that nothing leads to, or that nothing leaves
    /// - an event that no state handles, and a machine that no event begins
    /// - a timeout or a request that is never started, or that may still run in a state that does
    ///   not name its events
    /// - two events of one message type, two keys or states of one name, an address that cannot be
    ///   read
    pub fn mistakes(&self) -> Vec<String> {
        self.definition.mistakes()
    }
}

impl<S: Saga> Definition<S> {
    pub(crate) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = self.mistakes.clone();
        self.check_names(&mut mistakes);
        self.check_beginning(&mut mistakes);
        self.check_use(&mut mistakes);
        for &state in S::State::ALL {
            for event in 0..self.events.len() {
                self.check_pair(state, event, &mut mistakes);
            }
        }
        self.check_ways(&mut mistakes);
        self.check_timers(&mut mistakes);
        mistakes
    }

    fn check_names(&self, mistakes: &mut Vec<String>) {
        let saga = S::NAME;
        if saga.is_empty() || saga.chars().count() > LONGEST_NAME {
            mistakes.push(format!(
                "the name `{saga}` of the saga must have 1 to {LONGEST_NAME} characters"
            ));
        }
        let mut names = HashSet::new();
        for state in S::State::ALL {
            if !names.insert(state.name()) {
                mistakes.push(format!("two states have the name {}", state.name()));
            }
        }
        let mut names = HashSet::new();
        for event in &self.events {
            if !names.insert(&event.name) {
                mistakes.push(format!(
                    "two events are the message {}: declare one, and give it conditions by when",
                    event.name
                ));
            }
        }
    }

    fn check_beginning(&self, mistakes: &mut Vec<String>) {
        let mut initial = self.reactions.iter().filter(|it| it.from.is_initial());
        if initial.clone().next().is_none() {
            mistakes.push("no event begins an instance: add one by initially".to_owned());
        }
        let stays = |it: &&Reaction<S>| {
            let mut alternatives = it.alternatives();
            alternatives.any(|it| matches!(it.leads, Leads::Stay))
        };
        if let Some(reaction) = initial.find(stays) {
            let event = &self.events[reaction.event].label;
            mistakes.push(format!(
                "{event} begins an instance, and must lead to a state or finish"
            ));
        }
        for reaction in self.reactions.iter().filter(|it| it.from.is_initial()) {
            let event = &self.events[reaction.event];
            if event.kind != EventKind::Message {
                let label = &event.label;
                mistakes.push(format!(
                    "{label} comes from an instance, and cannot begin one"
                ));
            }
        }
    }

    fn check_use(&self, mistakes: &mut Vec<String>) {
        for (index, event) in self.events.iter().enumerate() {
            // The events of a request are those of one declaration.
            let belongs_to_request = event
                .kind
                .timer()
                .is_some_and(|timer| self.timers[timer].is_request);
            let is_handled = self.reactions.iter().any(|it| it.event == index);
            if !is_handled && !belongs_to_request {
                mistakes.push(format!("no state handles {}", event.label));
            }
        }
    }

    /// Checks one event in one state.
    fn check_pair(&self, state: S::State, event: usize, mistakes: &mut Vec<String>) {
        let declared = &self.events[event];
        let pair = format!("{} in {}", declared.label, state.name());
        let own = self.reactions_in(state, event);
        let certain = own.iter().position(|it| it.guard.is_none());
        let is_settled = self.settled_in(Some(state), event).is_some();
        if certain.is_some_and(|place| place + 1 < own.len()) {
            mistakes.push(format!(
                "{pair}: a reaction follows one without a condition, so it never runs"
            ));
        }
        if is_settled && certain.is_some() {
            mistakes.push(format!("{pair} is handled, and ignored or postponed too"));
        }
        let any = self.reactions_anywhere(event);
        let is_certain = certain.is_some()
            || is_settled
            || any.iter().any(|it| it.guard.is_none())
            || self.settled_in(None, event).is_some()
            || self.unexpected.is_some();
        if is_certain {
            return;
        }
        if !own.is_empty() || !any.is_empty() {
            if !matches!(declared.kind, EventKind::Composite(_)) {
                mistakes.push(format!(
                    "{pair} has reactions with conditions only: add one without, or ignore or postpone it"
                ));
            }
        } else if declared.kind == EventKind::Message {
            mistakes.push(format!("{pair}: handle, ignore or postpone it"));
        }
    }

    /// Checks that each state can be reached and left.
    fn check_ways(&self, mistakes: &mut Vec<String>) {
        let mut reached: Vec<S::State> = Vec::new();
        let mut next: Vec<_> = self.edges_from(None);
        while let Some(target) = next.pop() {
            let Some(state) = target.filter(|state| !reached.contains(state)) else {
                continue;
            };
            reached.push(state);
            next.extend(self.edges_from(Some(state)));
        }
        for &state in S::State::ALL {
            let name = state.name();
            if !reached.contains(&state) {
                mistakes.push(format!("nothing leads to the state {name}"));
            }
            let leaves = self.edges_from(Some(state));
            let is_left = leaves.iter().any(|target| *target != Some(state));
            if !is_left && !self.resting.contains(&state) {
                mistakes.push(format!(
                    "nothing leaves the state {name}: lead on from it, finish in it, or name it by rests_in"
                ));
            }
        }
    }

    /// Returns the states that follow one; `None` is the beginning, or the end.
    fn edges_from(&self, state: Option<S::State>) -> Vec<Option<S::State>> {
        let reactions: Vec<_> = if let Some(state) = state {
            let events = 0..self.events.len();
            events
                .flat_map(|event| self.possible_in(state, event))
                .collect()
        } else {
            let reactions = self.reactions.iter();
            reactions.filter(|it| it.from.is_initial()).collect()
        };
        reactions
            .into_iter()
            .flat_map(Reaction::alternatives)
            .flat_map(|it| it.targets(state))
            .collect()
    }
}

/// Longest name of a saga, which is part of the key of its rows.
const LONGEST_NAME: usize = 100;
