//! A state machine as data: what was declared, and what follows for one event.

use std::any::TypeId;
use std::sync::Arc;

use bus_core::consume::AnyMessage;
use bus_core::message::Envelope;

use crate::consumer::Attach;
use crate::instance::Instance;
use crate::missing::{AnyMissing, Unexpected};
use crate::reaction::Reaction;
use crate::repository::Find;
use crate::saga::Saga;

/// All that a state machine declares.
pub(crate) struct Definition<S: Saga> {
    pub(crate) events: Vec<Declared>,
    pub(crate) timers: Vec<Timer>,
    pub(crate) keys: Vec<KeyOf<S>>,
    pub(crate) reactions: Vec<Reaction<S>>,
    pub(crate) settled: Vec<Settled<S>>,
    /// For the pairs of state and event that are not named.
    pub(crate) unexpected: Option<Unexpected>,
    /// States that need no way out.
    pub(crate) resting: Vec<S::State>,
    /// Mistakes that were seen while it was declared.
    pub(crate) mistakes: Vec<String>,
}

/// A declared event.
pub(crate) struct Declared {
    /// Name for people.
    pub(crate) label: String,
    /// Name in stored instances: of the message on the wire, or the composite.
    pub(crate) name: String,
    pub(crate) type_id: TypeId,
    pub(crate) kind: EventKind,
    pub(crate) missing: Option<AnyMissing>,
    pub(crate) wire: Option<Wire>,
}

/// Functions of an event that know the type of its message.
pub(crate) struct Wire {
    pub(crate) find: Box<FindOf>,
    pub(crate) encode: fn(&AnyMessage) -> serde_json::Result<String>,
    pub(crate) decode: fn(&str) -> serde_json::Result<Arc<AnyMessage>>,
    pub(crate) attach: Attach,
}

pub(crate) type FindOf = dyn Fn(&AnyMessage, &Envelope) -> Option<Find> + Send + Sync;

/// Source of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A message of others.
    Message,
    /// The end of a timeout, or of the patience for a reply.
    Timer(usize),
    /// A reply, or the fault of a request.
    Answer(usize),
    /// The last of these events.
    Composite(Vec<usize>),
}

impl EventKind {
    /// Returns the timeout or request to which the event belongs.
    pub(crate) fn timer(&self) -> Option<usize> {
        match self {
            Self::Timer(timer) | Self::Answer(timer) => Some(*timer),
            Self::Message | Self::Composite(_) => None,
        }
    }
}

/// A timeout, or a request with its patience.
#[derive(Debug)]
pub(crate) struct Timer {
    /// Name in stored instances.
    pub(crate) name: String,
    /// Name for people.
    pub(crate) label: String,
    pub(crate) is_request: bool,
}

/// A business key.
pub(crate) struct KeyOf<S> {
    pub(crate) name: &'static str,
    pub(crate) of: Box<TextOf<S>>,
}

pub(crate) type TextOf<S> = dyn Fn(&S) -> Option<String> + Send + Sync;

/// Pairs of states and an event without a reaction.
pub(crate) struct Settled<S: Saga> {
    /// `None` for all states that do not react.
    pub(crate) states: Option<Vec<S::State>>,
    pub(crate) event: usize,
    pub(crate) how: Unexpected,
}

/// Consequence of an event in a state.
pub(crate) enum Course<'a, S: Saga> {
    React(&'a Reaction<S>),
    Settle(Unexpected),
    /// Not named by the machine.
    Unknown,
}

impl<S: Saga> Definition<S> {
    /// Returns the reaction that begins an instance.
    pub(crate) fn beginning(
        &self,
        event: usize,
        data: &S,
        message: &AnyMessage,
    ) -> Option<&Reaction<S>> {
        let mut reactions = self.reactions.iter();
        reactions.find(|it| it.event == event && it.from.is_initial() && it.applies(data, message))
    }

    /// Returns the business keys of an instance, and its pending requests.
    ///
    /// One that has finished keeps its business keys, so that late events find it.
    pub(crate) fn keys_of(&self, instance: &Instance<S>) -> Vec<(String, String)> {
        let keys = self.keys.iter();
        let keys = keys.filter_map(|key| Some((key.name.to_owned(), (key.of)(&instance.data)?)));
        let asked = self.timers.iter().filter(|timer| timer.is_request);
        let asked = asked.filter_map(|timer| {
            let token = instance.meta.timers.get(&timer.name)?;
            Some((timer.name.clone(), token.to_string()))
        });
        keys.chain(asked).collect()
    }

    /// Returns the consequence of an event in a state.
    ///
    /// A state's own reactions come first, then what it ignores or postpones, then those of any
    /// state.
    pub(crate) fn course(
        &self,
        state: S::State,
        event: usize,
        data: &S,
        message: &AnyMessage,
    ) -> Course<'_, S> {
        let own = self.reactions_in(state, event);
        let any = self.reactions_anywhere(event);
        let applies = |it: &&Reaction<S>| it.applies(data, message);
        if let Some(reaction) = own.into_iter().find(applies) {
            Course::React(reaction)
        } else if let Some(how) = self.settled_in(Some(state), event) {
            Course::Settle(how)
        } else if let Some(reaction) = any.into_iter().find(applies) {
            Course::React(reaction)
        } else if let Some(how) = self.settled_in(None, event).or(self.unexpected) {
            Course::Settle(how)
        } else {
            Course::Unknown
        }
    }

    /// Returns the reactions to an event that name a state, in their order.
    pub(crate) fn reactions_in(&self, state: S::State, event: usize) -> Vec<&Reaction<S>> {
        let reactions = self.reactions.iter();
        reactions
            .filter(|it| it.event == event && it.from.names(state))
            .collect()
    }

    /// Returns the reactions to an event in any state, in their order.
    pub(crate) fn reactions_anywhere(&self, event: usize) -> Vec<&Reaction<S>> {
        let reactions = self.reactions.iter();
        reactions
            .filter(|it| it.event == event && it.from.is_any())
            .collect()
    }

    /// Returns the way in which a state, or any, settles an event.
    pub(crate) fn settled_in(&self, state: Option<S::State>, event: usize) -> Option<Unexpected> {
        let matches = |settled: &&Settled<S>| {
            settled.event == event
                && match (&settled.states, state) {
                    (Some(states), Some(state)) => states.contains(&state),
                    (None, None) => true,
                    _ => false,
                }
        };
        self.settled.iter().find(matches).map(|settled| settled.how)
    }

    /// Returns the reactions that can run in a state, in their order.
    pub(crate) fn possible_in(&self, state: S::State, event: usize) -> Vec<&Reaction<S>> {
        let mut possible = self.reactions_in(state, event);
        let is_settled = possible.iter().any(|it| it.guard.is_none())
            || self.settled_in(Some(state), event).is_some();
        if !is_settled {
            possible.extend(self.reactions_anywhere(event));
        }
        possible
    }
}
