//! Trials of a state machine without a bus.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bus_core::consume::AnyMessage;
use bus_core::message::Envelope;
use bus_core::{ConsumeError, ConsumeResult, Message};
use futures_util::FutureExt;
use uuid::Uuid;

use crate::effect::{Effect, Leaving, Way};
use crate::error::SagaError;
use crate::instance::Instance;
use crate::machine::StateMachine;
use crate::repository::Find;
use crate::saga::Saga;
use crate::turn::Turn;

/// Trial of a state machine: no bus, no runtime, no clock.
///
/// The machine is data; an event gives its effects as data. Made by [`StateMachine::trial`].
/// Correlation by headers, redelivery, and activities that wait need a bus: the harness of
/// `bus-inmemory` has one.
///
/// ```
/// use std::time::Duration;
/// # use bus_core::Message;
/// # use bus_saga::{Saga, SagaState, StateMachine, by};
/// # use serde::{Deserialize, Serialize};
/// # use uuid::Uuid;
/// # #[derive(Default, Serialize, Deserialize)] struct Order {}
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Unpaid }
/// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPlaced")]
/// # struct OrderPlaced { order_id: Uuid }
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:PaymentOverdue")]
/// # struct PaymentOverdue {}
/// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderCancelled")]
/// # struct OrderCancelled {}
/// # fn order_saga() -> StateMachine<Order> {
/// #     let mut saga = StateMachine::<Order>::new();
/// #     let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
/// #     let overdue = saga.timeout::<PaymentOverdue>();
/// #     saga.initially(placed, |on| {
/// #         on.schedule(overdue, Duration::from_secs(60), |_, _| PaymentOverdue {}).go(Stage::Unpaid)
/// #     })
/// #     .during(Stage::Unpaid, overdue.fired, |on| on.publish(|_, _| OrderCancelled {}).finish())
/// #     .ignore(Stage::Unpaid, placed);
/// #     saga
/// # }
/// # fn main() -> Result<(), bus_core::error::BoxError> {
/// let mut orders = order_saga().trial();
/// let order_id = Uuid::now_v7();
///
/// let effects = orders.on(&OrderPlaced { order_id }).map_err(|error| error.to_string())?;
/// assert_eq!(orders.state(order_id), Some(Stage::Unpaid));
/// assert_eq!(effects.scheduled::<PaymentOverdue>(), Some(Duration::from_secs(60)));
///
/// let effects = orders.fire(order_id, &PaymentOverdue {}).map_err(|error| error.to_string())?;
/// assert_eq!(effects.published::<OrderCancelled>().len(), 1);
/// assert!(orders.is_finished(order_id));
/// # Ok(()) }
/// ```
pub struct Trial<S: Saga> {
    machine: StateMachine<S>,
    instances: HashMap<Uuid, Instance<S>>,
}

/// Effects of an event: the messages that would leave.
#[derive(Clone, Debug, Default)]
pub struct Effects(Vec<Effect>);

impl<S: Saga> StateMachine<S> {
    /// Begins a trial of the machine, without instances.
    pub fn trial(self) -> Trial<S> {
        Trial {
            machine: self,
            instances: HashMap::new(),
        }
    }
}

impl<S: Saga> Trial<S> {
    /// Handles an event, of the instance that its correlation gives.
    ///
    /// # Errors
    /// Those that the message would fail with. The instance is in doubt then.
    pub fn on<M: Message>(&mut self, message: &M) -> ConsumeResult<Effects> {
        let envelope = Envelope {
            correlation_id: message.correlation_id(),
            ..Envelope::default()
        };
        let event = self.event::<M>()?;
        let declared = &self.machine.definition.events[event];
        let find = declared.wire.as_ref();
        let find = find.and_then(|wire| (wire.find)(message, &envelope));
        let find = find.ok_or_else(|| {
            ConsumeError::permanent(SagaError::Uncorrelated {
                saga: S::NAME,
                event: declared.label.clone(),
            })
        })?;
        let id = self.id_of(&find).unwrap_or_else(|| find.new_id(S::NAME));
        self.handle(event, id, message)
    }

    /// Handles an event of an instance: a timeout, or the outcome of a request.
    ///
    /// One that is not awaited has no effects.
    ///
    /// # Errors
    /// Those that the message would fail with. The instance is in doubt then.
    pub fn fire<M: Message>(&mut self, id: Uuid, message: &M) -> ConsumeResult<Effects> {
        let event = self.event::<M>()?;
        let definition = &self.machine.definition;
        if let Some(timer) = definition.events[event].kind.timer() {
            let name = &definition.timers[timer].name;
            let instance = self.instances.get(&id);
            if instance.is_none_or(|it| !it.meta.timers.contains_key(name)) {
                return Ok(Effects::default());
            }
        }
        self.handle(event, id, message)
    }

    /// Returns the state of an instance; `None` if it has not begun, or has finished.
    pub fn state(&self, id: Uuid) -> Option<S::State> {
        let instance = self.instances.get(&id)?;
        instance.state.filter(|_| !instance.is_finished)
    }

    /// Returns the data of an instance.
    pub fn data(&self, id: Uuid) -> Option<&S> {
        Some(&self.instances.get(&id)?.data)
    }

    /// Returns `true` if an instance has finished.
    pub fn is_finished(&self, id: Uuid) -> bool {
        self.instances.get(&id).is_some_and(|it| it.is_finished)
    }

    fn event<M: Message>(&self) -> ConsumeResult<usize> {
        let is_it = |event: &crate::definition::Declared| event.type_id == TypeId::of::<M>();
        let place = self.machine.definition.events.iter().position(is_it);
        place.ok_or_else(|| {
            let name = M::message_type().qualified();
            ConsumeError::permanent(format!("{name} is no event of the machine"))
        })
    }

    fn id_of(&self, find: &Find) -> Option<Uuid> {
        let Find::Key { name, value } = find else {
            return None;
        };
        let definition = &self.machine.definition;
        let has = |instance: &&Instance<S>| {
            let keys = definition.keys_of(instance);
            keys.iter().any(|key| (&key.0, &key.1) == (name, value))
        };
        Some(self.instances.values().find(has)?.id)
    }

    fn handle(&mut self, event: usize, id: Uuid, message: &AnyMessage) -> ConsumeResult<Effects> {
        let definition = &self.machine.definition;
        let mut new = Instance::new(id);
        let known = self.instances.get_mut(&id);
        let is_new = known.is_none();
        let instance = known.unwrap_or(&mut new);
        if instance.is_finished {
            return Ok(Effects::default());
        }
        let mut effects = Vec::new();
        let mut turn = Turn {
            instance,
            effects: &mut effects,
            ctx: None,
            error: None,
        };
        let handled = definition.handle(event, message, &mut turn).now_or_never();
        handled.ok_or("an activity waits for something: test it on a bus")??;
        if is_new {
            self.instances.insert(id, new);
        }
        Ok(Effects(effects))
    }
}

impl Effects {
    /// Returns the events of type `M` that would be published.
    pub fn published<M: Message>(&self) -> Vec<&M> {
        self.all(|way| matches!(way, Way::Publish))
    }

    /// Returns the commands of type `M` that would be sent.
    pub fn sent<M: Message>(&self) -> Vec<&M> {
        self.all(|way| matches!(way, Way::Send | Way::SendTo(_)))
    }

    /// Returns the responses of type `M`.
    pub fn responded<M: Message>(&self) -> Vec<&M> {
        self.all(|way| matches!(way, Way::Respond | Way::RespondTo(_)))
    }

    /// Returns the requests of type `M`.
    pub fn requested<M: Message>(&self) -> Vec<&M> {
        self.all(|way| matches!(way, Way::Ask { .. }))
    }

    /// Returns the wait of the timeout `M`; `None` if it was not started.
    pub fn scheduled<M: Message>(&self) -> Option<Duration> {
        let leaving = self.leaving().filter(|it| it.type_id == TypeId::of::<M>());
        let mut waits = leaving.filter_map(|it| match it.way {
            Way::Later { wait, .. } => Some(wait),
            _ => None,
        });
        waits.next()
    }

    /// Returns `true` if nothing would leave.
    pub fn is_empty(&self) -> bool {
        self.leaving().next().is_none()
    }

    fn leaving(&self) -> impl Iterator<Item = &Leaving> {
        self.0.iter().filter_map(|effect| match effect {
            Effect::Send(leaving) => Some(leaving),
            Effect::Cancel(_) => None,
        })
    }

    fn all<M: Message>(&self, is_way: impl Fn(&Way) -> bool) -> Vec<&M> {
        let leaving = self.leaving().filter(|leaving| is_way(&leaving.way));
        leaving
            .filter_map(|leaving| leaving.message.downcast_ref())
            .collect()
    }
}

impl<S: Saga> fmt::Debug for Trial<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("machine", &self.machine)
            .field("instances", &self.instances.len())
            .finish()
    }
}
