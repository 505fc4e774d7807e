//! A saga on an endpoint: its machine, its repository, and its deliveries.

use std::fmt;
use std::sync::Arc;

use bus_core::consume::UnitOfWork;
use bus_core::transport::{Capability, ScheduleToken};
use bus_core::{ConsumeContext, ConsumeError, ConsumeResult, Endpoint};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::consumer::Deliveries;
use crate::definition::{Declared, Definition, EventKind};
use crate::effect::{Effect, TOKEN};
use crate::error::SagaError;
use crate::instance::Instance;
use crate::machine::StateMachine;
use crate::missing::AnyMissing;
use crate::repository::{Find, SagaRepository};
use crate::saga::Saga;
use crate::turn::Turn;

/// State machine with its repository; made by [`StateMachine::stored_in`].
#[must_use = "add it to an endpoint by on"]
pub struct StoredSaga<S: Saga> {
    machine: StateMachine<S>,
    repository: Arc<dyn SagaRepository>,
}

impl<S: Saga> StateMachine<S> {
    /// Joins the machine to the repository of its instances.
    pub fn stored_in(self, repository: impl SagaRepository) -> StoredSaga<S> {
        StoredSaga {
            machine: self,
            repository: Arc::new(repository),
        }
    }
}

impl<S: Saga> StoredSaga<S> {
    /// Adds the saga to an endpoint: a consumer for each of its events.
    ///
    /// The mistakes of the machine become those of the endpoint, so that the bus does not connect.
    /// A saga with timeouts needs a transport that can delay messages, unless its repository keeps
    /// them until they are due. The endpoint may have other consumers, and other sagas, of other
    /// messages. Its policies apply; give it a retry policy, or a redelivery, for events that fail.
    ///
    /// ```
    /// use bus_core::{Endpoint, Message};
    /// use bus_saga::{MemorySagas, Saga, SagaState, StateMachine, by};
    /// # use serde::{Deserialize, Serialize};
    /// # use uuid::Uuid;
    /// # #[derive(Default, Serialize, Deserialize)] struct Order {}
    /// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Unpaid }
    /// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
    /// # #[derive(Serialize, Deserialize, Message)] #[message("Shop:OrderPlaced")]
    /// # struct OrderPlaced { order_id: Uuid }
    /// # fn order_saga() -> StateMachine<Order> {
    /// #     let mut saga = StateMachine::<Order>::new();
    /// #     let placed = saga.event(by::id(|it: &OrderPlaced| it.order_id));
    /// #     saga.initially(placed, |on| on.finish());
    /// #     saga
    /// # }
    /// let orders = order_saga().stored_in(MemorySagas::new()).on(Endpoint::new("orders"));
    /// # let _ = orders;
    /// ```
    pub fn on(self, endpoint: Endpoint) -> Endpoint {
        let saga = Running {
            definition: self.machine.definition,
            unit: self.repository.unit_of_work(),
            repository: self.repository,
        };
        let mistakes = saga.definition.mistakes().into_iter();
        let endpoint = mistakes.fold(endpoint, |endpoint, mistake| {
            endpoint.mistake(format!("saga `{}`: {mistake}", S::NAME))
        });
        let endpoint = if saga.needs_delays() {
            endpoint.needs(Capability::DelayedDelivery)
        } else {
            endpoint
        };
        let saga = Arc::new(saga);
        let deliveries = Arc::clone(&saga) as Arc<dyn Deliveries>;
        let events = saga.definition.events.iter().enumerate();
        events.fold(endpoint, |endpoint, (index, event)| match &event.wire {
            Some(wire) => (wire.attach)(endpoint, Arc::clone(&deliveries), index),
            None => endpoint,
        })
    }
}

impl<S: Saga> fmt::Debug for StoredSaga<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSaga")
            .field("machine", &self.machine)
            .field("repository", &self.repository)
            .finish()
    }
}

/// A saga that runs.
struct Running<S: Saga> {
    definition: Definition<S>,
    unit: Arc<dyn UnitOfWork>,
    repository: Arc<dyn SagaRepository>,
}

impl<S: Saga> Deliveries for Running<S> {
    fn handle<'a>(&'a self, event: usize, ctx: &'a ConsumeContext) -> BoxFuture<'a, ConsumeResult> {
        self.deliver(event, ctx).boxed()
    }

    fn unit_of_work(&self) -> Arc<dyn UnitOfWork> {
        Arc::clone(&self.unit)
    }
}

impl<S: Saga> Running<S> {
    /// Returns `true` if the transport has to delay messages.
    fn needs_delays(&self) -> bool {
        let has_timers = !self.definition.timers.is_empty();
        let redelivers =
            |event: &Declared| matches!(event.missing, Some(AnyMissing::Redeliver(..)));
        self.definition.events.iter().any(redelivers)
            || has_timers && !self.repository.keeps_until_due()
    }

    /// Handles a delivery of an event, in the unit of work of its attempt.
    async fn deliver(&self, event: usize, ctx: &ConsumeContext) -> ConsumeResult {
        let find = self.find(event, ctx)?;
        let stored = self.repository.load(ctx, S::NAME, &find).await?;
        let mut instance = match stored {
            Some(row) if row.state.is_none() => {
                self.ignore(event, "has finished", &find);
                return Ok(());
            }
            Some(row) => Instance::read(row).map_err(ConsumeError::permanent)?,
            None => {
                let new = Instance::new(find.new_id(S::NAME));
                let begins = self.definition.beginning(event, &new.data, ctx.message());
                if begins.is_none() {
                    return self.missing(event, ctx, &find).await;
                }
                new
            }
        };
        if !self.is_awaited(event, &instance, ctx) {
            self.ignore(event, "waits for it no more", &find);
            return Ok(());
        }
        let mut effects = Vec::new();
        let mut turn = Turn {
            instance: &mut instance,
            effects: &mut effects,
            ctx: Some(ctx),
            error: None,
        };
        self.definition
            .handle(event, ctx.message(), &mut turn)
            .await?;
        self.keep(&instance, &effects, &find, ctx).await?;
        self.release(effects, ctx).await
    }

    fn find(&self, event: usize, ctx: &ConsumeContext) -> ConsumeResult<Find> {
        let declared = &self.definition.events[event];
        let find = declared.wire.as_ref();
        let find = find.and_then(|wire| (wire.find)(ctx.message(), ctx.envelope()));
        find.ok_or_else(|| {
            ConsumeError::permanent(SagaError::Uncorrelated {
                saga: S::NAME,
                event: declared.label.clone(),
            })
        })
    }

    /// Returns `false` for a timeout or reply that was cancelled, or replaced.
    fn is_awaited(&self, event: usize, instance: &Instance<S>, ctx: &ConsumeContext) -> bool {
        let kind = &self.definition.events[event].kind;
        let Some(timer) = kind.timer() else {
            return true;
        };
        let came = match kind {
            EventKind::Answer(_) => ctx.envelope().request_id,
            _ => ctx
                .headers()
                .text(TOKEN)
                .and_then(|it| Uuid::try_parse(it).ok()),
        };
        let name = &self.definition.timers[timer].name;
        came.is_some() && instance.meta.timers.get(name).copied() == came
    }

    fn ignore(&self, event: usize, reason: &str, find: &Find) {
        let event = &self.definition.events[event].label;
        tracing::debug!(saga = S::NAME, event, "the instance {find} {reason}");
    }

    async fn missing(&self, event: usize, ctx: &ConsumeContext, find: &Find) -> ConsumeResult {
        let declared = &self.definition.events[event];
        if declared.kind.timer().is_some() {
            self.ignore(event, "is not there", find);
            return Ok(());
        }
        match declared.missing.as_ref().unwrap_or(&AnyMissing::Fault) {
            AnyMissing::Discard => {
                self.ignore(event, "is not there", find);
                return Ok(());
            }
            AnyMissing::Redeliver(times, wait) if ctx.redelivery_count() < *times => {
                return ctx.defer(*wait);
            }
            AnyMissing::Respond(answer) => {
                if let Some(answer) = answer(ctx.message()) {
                    return Ok(answer.leave(ctx).await?);
                }
            }
            AnyMissing::Fault | AnyMissing::Redeliver(..) => {}
        }
        Err(SagaError::Missing {
            saga: S::NAME,
            event: declared.label.clone(),
            instance: find.to_string(),
        }
        .into_consume_error())
    }

    /// Saves the instance, unless it is as before and nothing leaves.
    ///
    /// One that lets messages leave is saved all the same: these rest on what was loaded.
    async fn keep(
        &self,
        instance: &Instance<S>,
        effects: &[Effect],
        find: &Find,
        ctx: &ConsumeContext,
    ) -> ConsumeResult {
        let changed = instance.write(self.definition.keys_of(instance), find)?;
        let unchanged = instance.loaded().filter(|_| !effects.is_empty());
        match changed.or_else(|| unchanged.cloned()) {
            Some(row) => self.repository.save(ctx, S::NAME, row).await,
            None => Ok(()),
        }
    }

    /// Hands what is to leave to the outbox of the attempt.
    async fn release(&self, effects: Vec<Effect>, ctx: &ConsumeContext) -> ConsumeResult {
        for effect in effects {
            match effect {
                Effect::Send(leaving) => leaving.leave(ctx).await?,
                Effect::Cancel(token) => {
                    self.repository
                        .cancel(ctx, ScheduleToken::from(token))
                        .await?;
                }
            }
        }
        Ok(())
    }
}
