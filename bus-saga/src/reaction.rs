//! Reactions to events, without the types of their messages.

use bus_core::ConsumeResult;
use bus_core::consume::AnyMessage;

use crate::saga::Saga;
use crate::step::AnyActivity;
use crate::turn::Turn;

pub(crate) type Guard<S> = dyn Fn(&S, &AnyMessage) -> bool + Send + Sync;
type Run<S> = dyn Fn(&mut Turn<'_, S>, &AnyMessage) -> ConsumeResult + Send + Sync;
type Choose<S> = dyn Fn(&S, &AnyMessage) -> Option<<S as Saga>::State> + Send + Sync;

/// Reaction to an event in some states.
pub(crate) struct Reaction<S: Saga> {
    pub(crate) event: usize,
    pub(crate) from: Origin<S::State>,
    pub(crate) guard: Option<Box<Guard<S>>>,
    pub(crate) steps: Vec<Do<S>>,
    pub(crate) leads: Leads<S>,
    /// Timers that the steps start and end, in their order.
    pub(crate) notes: Vec<Note>,
    /// For when a step fails.
    pub(crate) otherwise: Option<Box<Reaction<S>>>,
}

/// One step.
pub(crate) enum Do<S: Saga> {
    Run(Box<Run<S>>),
    Activity {
        name: String,
        run: Box<dyn AnyActivity<S>>,
    },
}

/// States in which a reaction runs.
#[derive(Clone, Debug)]
pub(crate) enum Origin<T> {
    /// Before the first one.
    Initial,
    These(Vec<T>),
    Any,
}

/// State after a reaction.
pub(crate) enum Leads<S: Saga> {
    Stay,
    To(S::State),
    /// One of these, as the data says.
    Chosen(Box<Choose<S>>, Vec<S::State>),
    Finish,
}

/// Effect of a step on a timeout or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Starts(usize),
    Ends(usize),
}

impl<S: Saga> Reaction<S> {
    pub(crate) fn applies(&self, data: &S, message: &AnyMessage) -> bool {
        self.guard.as_ref().is_none_or(|it| it(data, message))
    }

    /// Returns the names of its activities.
    pub(crate) fn activities(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| match step {
            Do::Activity { name, .. } => Some(name.as_str()),
            Do::Run(_) => None,
        })
    }

    /// Returns it, and those for when it fails.
    pub(crate) fn alternatives(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |it| it.otherwise.as_deref())
    }

    /// Returns the states after it, if it does not fail; `None` is the end.
    pub(crate) fn targets(&self, from: Option<S::State>) -> Vec<Option<S::State>> {
        match &self.leads {
            Leads::Stay => from.map(Some).into_iter().collect(),
            Leads::To(state) => vec![Some(*state)],
            Leads::Chosen(_, states) => states.iter().copied().map(Some).collect(),
            Leads::Finish => vec![None],
        }
    }
}

impl<T: Copy + PartialEq> Origin<T> {
    pub(crate) fn is_initial(&self) -> bool {
        matches!(self, Self::Initial)
    }

    pub(crate) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    pub(crate) fn names(&self, state: T) -> bool {
        matches!(self, Self::These(states) if states.contains(&state))
    }
}
