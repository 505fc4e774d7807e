//! Declarations of a state machine: its events, timeouts, requests and keys.

use std::any::TypeId;
use std::sync::Arc;

use bus_core::consume::AnyMessage;
use bus_core::message::Envelope;
use bus_core::{Fault, Message};

use crate::by::By;
use crate::consumer::{attach, attach_own};
use crate::definition::{Declared, EventKind, FindOf, KeyOf, Timer, Wire};
use crate::instance::REQUEST;
use crate::machine::StateMachine;
use crate::repository::Find;
use crate::request::RequestTimedOut;
use crate::saga::Saga;
use crate::tokens::{AnyEvent, Event, Events, Key, Request, Timeout};

impl<S: Saga> StateMachine<S> {
    /// Declares an event: a message `M`, and the instance to which it belongs.
    pub fn event<M: Message>(&mut self, by: By<M>) -> Event<S, M> {
        let find = move |message: &AnyMessage, envelope: &Envelope| {
            by.find(message.downcast_ref()?, envelope)
        };
        let label = label::<M>();
        self.declare::<M>(label, EventKind::Message, Box::new(find))
    }

    /// Declares a business key: a text of the data that names one instance.
    ///
    /// [`Key::of`] correlates events by it. It is `None` while the data has none yet; from then on
    /// it cannot change. Two instances of a saga cannot have the same one, unless one of them has
    /// finished.
    ///
    /// ```
    /// # use bus_core::Message;
    /// # use bus_saga::{Saga, SagaState, StateMachine, by};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Default, Serialize, Deserialize)] struct Order { number: Option<String> }
    /// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Open }
    /// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
    /// # #[derive(Serialize, Deserialize, Message)]
    /// # #[message("Invoicing:InvoicePaid")]
    /// # struct InvoicePaid { order_number: String }
    /// let mut saga = StateMachine::<Order>::new();
    /// let number = saga.key("number", |order: &Order| order.number.clone());
    /// let paid = saga.event(number.of(|paid: &InvoicePaid| paid.order_number.clone()));
    /// # let _ = paid;
    /// ```
    pub fn key<K: Into<String>>(
        &mut self,
        name: &'static str,
        of: impl Fn(&S) -> Option<K> + Send + Sync + 'static,
    ) -> Key<S> {
        let is_taken = self.definition.keys.iter().any(|key| key.name == name);
        if is_taken || name.is_empty() || name.starts_with(REQUEST) {
            let text = format!("the key `{name}` is there twice, or no name: give it another one");
            self.definition.mistakes.push(text);
        }
        self.definition.keys.push(KeyOf {
            name,
            of: Box::new(move |data| of(data).map(Into::into).filter(|it| !it.is_empty())),
        });
        Key::new(name)
    }

    /// Declares a timeout: a message that the saga sends to itself, for later.
    pub fn timeout<M: Message>(&mut self) -> Timeout<S, M> {
        let label = label::<M>();
        let timer = self.timer(M::message_type().qualified(), label.clone(), false);
        let fired = self.declare::<M>(label, EventKind::Timer(timer), Box::new(by_saga_id));
        Timeout { fired, timer }
    }

    /// Declares a request to another service, with its three outcomes as events.
    pub fn request<Q: Message, A: Message>(&mut self) -> Request<S, Q, A> {
        let query = label::<Q>();
        let name = format!("{REQUEST}{}", Q::message_type().qualified());
        let timer = self.timer(name.clone(), query.clone(), true);
        let by_request = move || {
            let name = name.clone();
            Box::new(move |_: &AnyMessage, envelope: &Envelope| {
                let value = envelope.request_id?.to_string();
                let name = name.clone();
                Some(Find::Key { name, value })
            })
        };
        let answered = format!("{query} answered");
        let completed = self.declare(answered, EventKind::Answer(timer), by_request());
        let failed = format!("{query} faulted");
        let faulted = self.declare::<Fault<Q>>(failed, EventKind::Answer(timer), by_request());
        let late = format!("{query} timed out");
        let kind = EventKind::Timer(timer);
        let timed_out = self.declare::<RequestTimedOut<Q>>(late, kind, Box::new(by_saga_id));
        Request {
            completed,
            faulted,
            timed_out,
            timer,
        }
    }

    /// Declares an event that is raised once, after the last of others.
    ///
    /// In any order; events that a state ignores count too. It is raised in the first state that
    /// reacts to it, after the reaction to the last of the others.
    pub fn all_of<const N: usize>(
        &mut self,
        name: &'static str,
        events: [AnyEvent<S>; N],
    ) -> Event<S, ()> {
        let members = events.indices();
        if members.is_empty() {
            let text = format!("the composite event {name} has no members");
            self.definition.mistakes.push(text);
        }
        self.definition.events.push(Declared {
            label: name.to_owned(),
            name: name.to_owned(),
            type_id: TypeId::of::<()>(),
            kind: EventKind::Composite(members),
            missing: None,
            wire: None,
        });
        Event::new(self.definition.events.len() - 1)
    }

    fn declare<M: Message>(
        &mut self,
        label: String,
        kind: EventKind,
        find: Box<FindOf>,
    ) -> Event<S, M> {
        let attach = match kind {
            EventKind::Message => attach::<S, M>,
            _ => attach_own::<S, M>,
        };
        self.definition.events.push(Declared {
            label,
            name: M::message_type().qualified(),
            type_id: TypeId::of::<M>(),
            kind,
            missing: None,
            wire: Some(Wire {
                find,
                encode: encode::<M>,
                decode: decode::<M>,
                attach,
            }),
        });
        Event::new(self.definition.events.len() - 1)
    }

    fn timer(&mut self, name: String, label: String, is_request: bool) -> usize {
        let timers = &mut self.definition.timers;
        timers.push(Timer {
            name,
            label,
            is_request,
        });
        timers.len() - 1
    }
}

/// The name of a message for people.
fn label<M: Message>() -> String {
    let name = M::message_type().qualified();
    match name.rsplit_once(':') {
        Some((_, label)) if !name.contains('[') => label.to_owned(),
        _ => name,
    }
}

fn by_saga_id(_: &AnyMessage, envelope: &Envelope) -> Option<Find> {
    envelope.correlation_id.map(Find::Id)
}

fn encode<M: Message>(message: &AnyMessage) -> serde_json::Result<String> {
    serde_json::to_string(&message.downcast_ref::<M>())
}

fn decode<M: Message>(text: &str) -> serde_json::Result<Arc<AnyMessage>> {
    Ok(Arc::new(serde_json::from_str::<M>(text)?))
}
