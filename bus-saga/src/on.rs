//! Reactions to an event, as users write them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bus_core::consume::AnyMessage;
use bus_core::transport::InvalidAddress;
use bus_core::{Address, ConsumeError, ConsumeResult, Message};

use crate::reaction::{Do, Guard, Leads, Note};
use crate::request::RequestTimedOut;
use crate::saga::Saga;
use crate::step::{Activity, Step, Typed};
use crate::tokens::{Request, States, Timeout};
use crate::turn::Turn;

/// Marks a reaction that does not say yet where it leads.
#[derive(Debug)]
pub struct Open;

/// Marks a reaction that says where it leads.
#[derive(Debug)]
pub struct Led;

/// Reaction of the saga `S` to an event whose message is an `M`.
///
/// Its steps run in their order, then it leads to a state: each reaction ends with
/// [`go`](Self::go), [`go_to`](Self::go_to), [`stay`](Self::stay) or [`finish`](Self::finish), and
/// one that does not is a compile error. If a step fails, nothing of the reaction stays.
///
/// ```compile_fail,E0308
/// # use bus_core::Message;
/// # use bus_saga::{Saga, SagaState, StateMachine, by};
/// # use serde::{Deserialize, Serialize};
/// # use uuid::Uuid;
/// # #[derive(Default, Serialize, Deserialize)] struct Order { is_paid: bool }
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Open }
/// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Shop:OrderPaid")]
/// # struct OrderPaid { order_id: Uuid }
/// let mut saga = StateMachine::<Order>::new();
/// let paid = saga.event(by::id(|paid: &OrderPaid| paid.order_id));
/// saga.during(Stage::Open, paid, |on| on.set(|order, _| order.is_paid = true)); // and then?
/// ```
#[must_use = "a reaction ends with go, go_to, stay or finish"]
pub struct On<S: Saga, M, L = Open> {
    pub(crate) draft: Draft<S>,
    types: PhantomData<fn(M, L)>,
}

/// A reaction without its event.
pub(crate) struct Draft<S: Saga> {
    pub(crate) guard: Option<Box<Guard<S>>>,
    pub(crate) steps: Vec<Do<S>>,
    pub(crate) leads: Leads<S>,
    pub(crate) notes: Vec<Note>,
    pub(crate) mistakes: Vec<String>,
    pub(crate) otherwise: Option<Box<Draft<S>>>,
    /// Names of the timers of the machine.
    pub(crate) timers: Vec<String>,
}

impl<S: Saga, M: Send + Sync + 'static> On<S, M> {
    pub(crate) fn new(timers: Vec<String>) -> Self {
        Self {
            draft: Draft {
                guard: None,
                steps: Vec::new(),
                leads: Leads::Stay,
                notes: Vec::new(),
                mistakes: Vec::new(),
                otherwise: None,
                timers,
            },
            types: PhantomData,
        }
    }

    /// Reacts only if the data and the message fulfil a condition.
    ///
    /// Several reactions to one event in one state are tried in their order, and the last one has
    /// no condition: anything else is a mistake of the machine.
    pub fn when(mut self, condition: impl Fn(&S, &M) -> bool + Send + Sync + 'static) -> Self {
        self.draft.guard = Some(Box::new(move |data, message| {
            let message = message.downcast_ref();
            message.is_some_and(|message| condition(data, message))
        }));
        self
    }

    /// Changes the data.
    pub fn set(self, change: impl Fn(&mut S, &M) + Send + Sync + 'static) -> Self {
        self.then(move |step| {
            change(step.data, step.message);
            Ok(())
        })
    }

    /// Runs a step that may fail, or send several messages.
    pub fn then(
        self,
        run: impl Fn(&mut Step<'_, S, M>) -> ConsumeResult + Send + Sync + 'static,
    ) -> Self {
        self.turns(move |turn, message| run(&mut turn.step(message)?))
    }

    /// Publishes an event.
    pub fn publish<E: Message>(self, event: impl Fn(&S, &M) -> E + Send + Sync + 'static) -> Self {
        self.then(move |step| {
            let event = event(step.data, step.message);
            step.publish(event);
            Ok(())
        })
    }

    /// Sends a command to the address of its route.
    pub fn send<C: Message>(self, command: impl Fn(&S, &M) -> C + Send + Sync + 'static) -> Self {
        self.then(move |step| {
            let command = command(step.data, step.message);
            step.send(command);
            Ok(())
        })
    }

    /// Sends a command to an address: `queue:name`, `exchange:name` or a full one.
    ///
    /// An address that cannot be read is a mistake of the machine.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        mut self,
        address: A,
        command: impl Fn(&S, &M) -> C + Send + Sync + 'static,
    ) -> Self {
        let Some(address) = self.address(address) else {
            return self;
        };
        self.then(move |step| {
            let command = command(step.data, step.message);
            step.send_to(address.clone(), command)
        })
    }

    /// Responds to the message that is consumed.
    ///
    /// That is the one of the event, unless the event was postponed.
    pub fn respond<D: Message>(
        self,
        document: impl Fn(&S, &M) -> D + Send + Sync + 'static,
    ) -> Self {
        self.then(move |step| {
            let document = document(step.data, step.message);
            step.respond(document);
            Ok(())
        })
    }

    /// Keeps the requester of the event, for a response by a later reaction.
    ///
    /// An event without a response address keeps the one that there is.
    pub fn keep_requester(self) -> Self {
        self.turns(|turn, _| {
            turn.keep_requester();
            Ok(())
        })
    }

    /// Responds to the requester that was kept, if there is one.
    ///
    /// Also from a timeout. A requester that is gone by then gets nothing.
    pub fn respond_later<D: Message>(
        self,
        document: impl Fn(&S, &M) -> D + Send + Sync + 'static,
    ) -> Self {
        self.turns(move |turn, message| {
            let step = turn.step::<M>(message)?;
            let document = document(step.data, step.message);
            turn.respond_later(document);
            Ok(())
        })
    }

    /// Starts a timeout; one that runs already is replaced.
    ///
    /// Its message comes after this time, unless the timeout is cancelled or the instance has
    /// finished before.
    pub fn schedule<T: Message>(
        self,
        timeout: Timeout<S, T>,
        wait: Duration,
        message: impl Fn(&S, &M) -> T + Send + Sync + 'static,
    ) -> Self {
        self.schedule_in(timeout, move |data, it| (wait, message(data, it)))
    }

    /// Starts a timeout after a time that the data or the message gives.
    pub fn schedule_in<T: Message>(
        mut self,
        timeout: Timeout<S, T>,
        message: impl Fn(&S, &M) -> (Duration, T) + Send + Sync + 'static,
    ) -> Self {
        let timer = self.note(Note::Starts(timeout.timer), timeout.timer);
        self.turns(move |turn, it| {
            let step = turn.step::<M>(it)?;
            let (wait, message) = message(step.data, step.message);
            turn.schedule(&timer, message, wait);
            Ok(())
        })
    }

    /// Cancels a timeout, if it runs.
    ///
    /// Its message is ignored if it comes all the same, so this holds on each transport.
    pub fn unschedule<T>(mut self, timeout: Timeout<S, T>) -> Self {
        let timer = self.note(Note::Ends(timeout.timer), timeout.timer);
        self.turns(move |turn, _| {
            turn.cancel(&timer);
            Ok(())
        })
    }

    /// Asks the service that subscribes to `Q`; one that waits already is given up.
    ///
    /// The reply, a fault, or nothing within `patience`: each is an event of the
    /// [request](Request).
    pub fn request<Q: Message, A: Message>(
        self,
        request: Request<S, Q, A>,
        patience: Duration,
        query: impl Fn(&S, &M) -> Q + Send + Sync + 'static,
    ) -> Self {
        self.asks(request, None, patience, query)
    }

    /// Asks the service at an address.
    ///
    /// An address that cannot be read is a mistake of the machine.
    pub fn request_from<Q: Message, A: Message, T>(
        mut self,
        address: T,
        request: Request<S, Q, A>,
        patience: Duration,
        query: impl Fn(&S, &M) -> Q + Send + Sync + 'static,
    ) -> Self
    where
        T: TryInto<Address, Error: Into<InvalidAddress>>,
    {
        match self.address(address) {
            Some(address) => self.asks(request, Some(address), patience, query),
            None => self,
        }
    }

    fn asks<Q: Message, A: Message>(
        mut self,
        request: Request<S, Q, A>,
        to: Option<Address>,
        patience: Duration,
        query: impl Fn(&S, &M) -> Q + Send + Sync + 'static,
    ) -> Self {
        let timer = self.note(Note::Starts(request.timer), request.timer);
        self.turns(move |turn, it| {
            let step = turn.step::<M>(it)?;
            let query = query(step.data, step.message);
            let token = turn.ask(&timer, to.clone(), query);
            turn.later(token, RequestTimedOut::<Q>::new(), patience);
            Ok(())
        })
    }

    /// Gives a request up, if it waits for its reply.
    ///
    /// A reply that comes all the same is ignored.
    pub fn give_up<Q, A>(mut self, request: Request<S, Q, A>) -> Self {
        let timer = self.note(Note::Ends(request.timer), request.timer);
        self.turns(move |turn, _| {
            turn.cancel(&timer);
            Ok(())
        })
    }

    /// Runs an activity, and waits for it.
    pub fn activity(mut self, activity: impl Activity<S, M>) -> Self {
        let (name, message) = (activity.name(), PhantomData);
        let run = Box::new(Typed { activity, message });
        self.draft.steps.push(Do::Activity { name, run });
        self
    }

    /// Leads to a state.
    pub fn go(self, state: S::State) -> On<S, M, Led> {
        self.leads(Leads::To(state))
    }

    /// Leads to the state that a choice gives, which is one of `among`.
    ///
    /// Another one fails the attempt, without a retry.
    pub fn go_to(
        self,
        among: impl States<S::State>,
        choice: impl Fn(&S, &M) -> S::State + Send + Sync + 'static,
    ) -> On<S, M, Led> {
        let among = among.list();
        let known = among.clone();
        let choose = move |data: &S, message: &AnyMessage| {
            let state = choice(data, message.downcast_ref()?);
            known.contains(&state).then_some(state)
        };
        self.leads(Leads::Chosen(Box::new(choose), among))
    }

    /// Leads nowhere: the state stays as it is.
    pub fn stay(self) -> On<S, M, Led> {
        self.leads(Leads::Stay)
    }

    /// Finishes the instance: its timeouts end, and late events are ignored.
    pub fn finish(self) -> On<S, M, Led> {
        self.leads(Leads::Finish)
    }

    fn leads(mut self, leads: Leads<S>) -> On<S, M, Led> {
        self.draft.leads = leads;
        On {
            draft: self.draft,
            types: PhantomData,
        }
    }

    fn turns(
        mut self,
        run: impl Fn(&mut Turn<'_, S>, &AnyMessage) -> ConsumeResult + Send + Sync + 'static,
    ) -> Self {
        self.draft.steps.push(Do::Run(Box::new(run)));
        self
    }

    /// Notes what a step does to a timer; returns its name.
    fn note(&mut self, note: Note, timer: usize) -> String {
        self.draft.notes.push(note);
        let name = self.draft.timers.get(timer).cloned();
        name.unwrap_or_default()
    }

    fn address<A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &mut self,
        address: A,
    ) -> Option<Address> {
        let address: Result<_, InvalidAddress> = address.try_into().map_err(Into::into);
        let error = match address {
            Ok(address) => return Some(address),
            Err(error) => error,
        };
        self.draft.mistakes.push(error.to_string());
        None
    }
}

impl<S: Saga, M, L> fmt::Debug for On<S, M, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("On")
            .field("saga", &S::NAME)
            .field("steps", &self.draft.steps.len())
            .finish_non_exhaustive()
    }
}

/// The error of a choice that gives a state which it does not name.
pub(crate) fn foreign_choice<S: Saga>() -> ConsumeError {
    let saga = S::NAME;
    ConsumeError::permanent(format!(
        "saga `{saga}`: go_to chose a state that it does not name"
    ))
}
