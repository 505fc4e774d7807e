//! The builder of a state machine.

use std::any::TypeId;
use std::fmt;

use bus_core::Message;

use crate::definition::{Definition, Settled};
use crate::missing::{Missing, Unexpected};
use crate::on::{Led, On};
use crate::reaction::Origin;
use crate::saga::{Saga, SagaState};
use crate::tokens::{Event, Events, States};

/// State machine of a saga: what follows in which state for which event.
///
/// Declare events, timeouts and requests first; each gives a token. Then say for each state what
/// follows for each event: a reaction, [`ignore`](Self::ignore), or [`postpone`](Self::postpone).
/// What is forgotten or contradicts itself is a [mistake](Self::mistakes).
///
/// ```
/// use std::time::Duration;
/// use bus_core::Message;
/// use bus_saga::{Saga, SagaState, StateMachine, by};
/// use serde::{Deserialize, Serialize};
/// use uuid::Uuid;
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Shop:OrderPlaced")]
/// struct OrderPlaced { order_id: Uuid, total: u64 }
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Shop:OrderPaid")]
/// struct OrderPaid { order_id: Uuid }
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Shop:PaymentOverdue")]
/// struct PaymentOverdue {}
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Shop:OrderCancelled")]
/// struct OrderCancelled { total: u64 }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Order { total: u64 }
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)]
/// enum Stage { AwaitingPayment }
///
/// impl Saga for Order {
///     type State = Stage;
///     const NAME: &'static str = "order";
/// }
///
/// fn order_saga() -> StateMachine<Order> {
///     let mut saga = StateMachine::<Order>::new();
///     let placed = saga.event(by::id(|placed: &OrderPlaced| placed.order_id));
///     let paid = saga.event(by::id(|paid: &OrderPaid| paid.order_id));
///     let overdue = saga.timeout::<PaymentOverdue>();
///
///     saga.initially(placed, |on| {
///         on.set(|order, placed| order.total = placed.total)
///             .schedule(overdue, Duration::from_secs(14 * 24 * 60 * 60), |_, _| PaymentOverdue {})
///             .go(Stage::AwaitingPayment)
///     })
///     .during(Stage::AwaitingPayment, paid, |on| on.finish())
///     .during(Stage::AwaitingPayment, overdue.fired, |on| {
///         on.publish(|order, _| OrderCancelled { total: order.total }).finish()
///     })
///     .ignore(Stage::AwaitingPayment, placed); // a second one changes nothing
///     saga
/// }
///
/// assert_eq!(order_saga().mistakes(), Vec::<String>::new());
/// ```
#[must_use]
pub struct StateMachine<S: Saga> {
    pub(crate) definition: Definition<S>,
}

impl<S: Saga> StateMachine<S> {
    /// Creates a machine without any event.
    pub fn new() -> Self {
        Self {
            definition: Definition {
                events: Vec::new(),
                timers: Vec::new(),
                keys: Vec::new(),
                reactions: Vec::new(),
                settled: Vec::new(),
                unexpected: None,
                resting: Vec::new(),
                mistakes: Vec::new(),
            },
        }
    }

    /// Adds the reaction to an event that begins an instance.
    pub fn initially<M: Send + Sync + 'static>(
        &mut self,
        event: Event<S, M>,
        reaction: impl FnOnce(On<S, M>) -> On<S, M, Led>,
    ) -> &mut Self {
        self.react(Origin::Initial, event, reaction)
    }

    /// Adds the reaction to an event in one state, or in several.
    pub fn during<M: Send + Sync + 'static>(
        &mut self,
        states: impl States<S::State>,
        event: Event<S, M>,
        reaction: impl FnOnce(On<S, M>) -> On<S, M, Led>,
    ) -> &mut Self {
        self.react(Origin::These(states.list()), event, reaction)
    }

    /// Adds the reaction to an event in every state that does not name it.
    pub fn in_any_state<M: Send + Sync + 'static>(
        &mut self,
        event: Event<S, M>,
        reaction: impl FnOnce(On<S, M>) -> On<S, M, Led>,
    ) -> &mut Self {
        self.react(Origin::Any, event, reaction)
    }

    /// Ignores events in these states: they are acknowledged, and change nothing.
    pub fn ignore(&mut self, states: impl States<S::State>, events: impl Events<S>) -> &mut Self {
        self.settle(Some(&states.list()), events, Unexpected::Ignore)
    }

    /// Ignores events in every state that does not name them.
    pub fn ignore_everywhere(&mut self, events: impl Events<S>) -> &mut Self {
        self.settle(None, events, Unexpected::Ignore)
    }

    /// Keeps events of these states until a state expects them.
    ///
    /// For events that come out of order. The instance keeps them, at most 100 of 64 KiB each; they
    /// are handled in the order in which they came, in the attempt that has changed the state. If
    /// one of them fails then, so does that attempt. An instance that finishes drops them.
    pub fn postpone(&mut self, states: impl States<S::State>, events: impl Events<S>) -> &mut Self {
        self.settle(Some(&states.list()), events, Unexpected::Postpone)
    }

    /// Sets the consequence for all pairs of state and event that are not named.
    ///
    /// Default: none, and each such pair is a mistake. A timeout or a request that no longer runs
    /// needs no pair.
    pub fn unexpected(&mut self, consequence: Unexpected) -> &mut Self {
        self.definition.unexpected = Some(consequence);
        self
    }

    /// Sets the consequence of an event for which there is no instance.
    ///
    /// Default: [`Missing::fault`].
    pub fn missing<M: Message>(&mut self, event: Event<S, M>, missing: Missing<M>) -> &mut Self {
        if self.knows::<M>(event.index) {
            self.definition.events[event.index].missing = Some(missing.erase());
        }
        self
    }

    /// Names states in which instances may stay without end.
    ///
    /// Without it, a state that no event leaves is a mistake.
    pub fn rests_in(&mut self, states: impl States<S::State>) -> &mut Self {
        self.definition.resting.extend(states.list());
        self
    }

    fn react<M: Send + Sync + 'static>(
        &mut self,
        from: Origin<S::State>,
        event: Event<S, M>,
        reaction: impl FnOnce(On<S, M>) -> On<S, M, Led>,
    ) -> &mut Self {
        let timers = self.definition.timers.iter();
        let draft = reaction(On::new(timers.map(|timer| timer.name.clone()).collect())).draft;
        if self.knows::<M>(event.index) {
            let label = &self.definition.events[event.index].label;
            let mistakes = draft.mistakes.iter().map(|it| format!("{label}: {it}"));
            self.definition.mistakes.extend(mistakes);
            let reaction = draft.reaction(event.index, from);
            self.definition.reactions.push(reaction);
        }
        self
    }

    fn settle(
        &mut self,
        states: Option<&[S::State]>,
        events: impl Events<S>,
        how: Unexpected,
    ) -> &mut Self {
        for event in events.indices() {
            let states = states.map(<[_]>::to_vec);
            self.definition.settled.push(Settled { states, event, how });
        }
        self
    }

    /// Notes a token of another machine.
    fn knows<M: 'static>(&mut self, event: usize) -> bool {
        let declared = self.definition.events.get(event);
        let is_known = declared.is_some_and(|it| it.type_id == TypeId::of::<M>());
        if !is_known {
            let text = "an event of another machine is used; each machine has events of its own";
            self.definition.mistakes.push(text.to_owned());
        }
        is_known
    }
}

impl<S: Saga> Default for StateMachine<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Saga> fmt::Debug for StateMachine<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<_> = S::State::ALL.iter().map(|state| state.name()).collect();
        f.debug_struct("StateMachine")
            .field("saga", &S::NAME)
            .field("states", &states)
            .finish_non_exhaustive()
    }
}
