//! A step of a reaction: the instance, the message, and what is to leave.

use std::fmt;
use std::future::Future;

use bus_core::consume::AnyMessage;
use bus_core::error::BoxError;
use bus_core::transport::InvalidAddress;
use bus_core::{Address, ConsumeContext, ConsumeError, ConsumeResult, Message};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::effect::{Effect, Leaving, Way};
use crate::saga::Saga;
use crate::turn::Turn;

/// One step of a reaction to an event.
///
/// A step of [`On::then`](crate::On::then), or of an [`Activity`]. It works on the instance in
/// memory: its data is stored, and its messages leave, if all steps succeed and the attempt
/// commits.
pub struct Step<'a, S: Saga, M> {
    /// Data of the instance, which the step may change.
    pub data: &'a mut S,
    /// Message of the event.
    pub message: &'a M,
    id: Uuid,
    state: Option<S::State>,
    effects: &'a mut Vec<Effect>,
    ctx: Option<&'a ConsumeContext>,
    error: Option<&'a ConsumeError>,
}

impl<S: Saga, M> Step<'_, S, M> {
    /// Returns the id of the instance.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the state in which the event has come; `None` if it begins the instance.
    pub fn state(&self) -> Option<S::State> {
        self.state
    }

    /// Returns the context of the message; `None` in a [`Trial`](crate::Trial).
    ///
    /// That message may be a later one than the event, if the event was postponed.
    pub fn context(&self) -> Option<&ConsumeContext> {
        self.ctx
    }

    /// Returns the error to which [`or_else`](crate::On::or_else) reacts.
    pub fn error(&self) -> Option<&ConsumeError> {
        self.error
    }

    /// Publishes an event.
    pub fn publish<E: Message>(&mut self, event: E) {
        self.leaves(Way::Publish, event);
    }

    /// Sends a command to the address of its route.
    pub fn send<C: Message>(&mut self, command: C) {
        self.leaves(Way::Send, command);
    }

    /// Sends a command to an address.
    ///
    /// # Errors
    /// That of an address that cannot be read.
    pub fn send_to<C: Message, A: TryInto<Address, Error: Into<InvalidAddress>>>(
        &mut self,
        address: A,
        command: C,
    ) -> ConsumeResult {
        let address: Result<_, InvalidAddress> = address.try_into().map_err(Into::into);
        let address = address.map_err(|error| ConsumeError::permanent(BoxError::from(error)))?;
        self.leaves(Way::SendTo(address), command);
        Ok(())
    }

    /// Responds to the message that is consumed.
    pub fn respond<D: Message>(&mut self, document: D) {
        self.leaves(Way::Respond, document);
    }

    fn leaves<T: Message>(&mut self, way: Way, message: T) {
        let leaving = Leaving::new(way, message);
        self.effects.push(Effect::Send(leaving));
    }
}

impl<S: Saga, M> fmt::Debug for Step<'_, S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("saga", &S::NAME)
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<S: Saga> Turn<'_, S> {
    /// Returns what a step of the event sees; the message is an `M`.
    pub(crate) fn step<'a, M: 'static>(
        &'a mut self,
        message: &'a AnyMessage,
    ) -> ConsumeResult<Step<'a, S, M>> {
        let message = message.downcast_ref::<M>().ok_or_else(|| {
            let expected = std::any::type_name::<M>();
            ConsumeError::permanent(format!("the message of the event is not a {expected}"))
        })?;
        Ok(Step {
            data: &mut self.instance.data,
            message,
            id: self.instance.id,
            state: self.instance.state,
            effects: self.effects,
            ctx: self.ctx,
            error: self.error.as_ref(),
        })
    }
}

/// Step of a reaction that waits: for another service, or a database.
///
/// Its [name](Self::name) is in the log and in diagrams. Its future is dropped when the attempt
/// ends early. It may run more than once for an event: an effect elsewhere must
/// be idempotent, or is left to a message.
///
/// ```
/// use bus_core::{ConsumeResult, Message};
/// use bus_saga::{Activity, Saga, Step};
/// # use bus_saga::SagaState;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Serialize, Deserialize)] struct Order { is_risky: bool }
/// # #[derive(Clone, Copy, Debug, PartialEq, Eq, SagaState)] enum Stage { Open }
/// # impl Saga for Order { type State = Stage; const NAME: &'static str = "order"; }
/// # #[derive(Serialize, Deserialize, Message)]
/// # #[message("Shop:OrderPlaced")]
/// # struct OrderPlaced { total: u64 }
/// # struct Scoring;
/// # impl Scoring { async fn rate(&self, _: u64) -> Result<u8, std::io::Error> { Ok(1) } }
///
/// struct RateRisk(Scoring);
///
/// impl Activity<Order, OrderPlaced> for RateRisk {
///     async fn run(&self, step: &mut Step<'_, Order, OrderPlaced>) -> ConsumeResult {
///         step.data.is_risky = self.0.rate(step.message.total).await? > 5;
///         Ok(())
///     }
/// }
/// ```
pub trait Activity<S: Saga, M>: Send + Sync + 'static {
    /// Returns the name, for people. Default: that of the type, without its path.
    fn name(&self) -> String {
        let name = std::any::type_name::<Self>();
        let path = name.split('<').next().unwrap_or(name);
        path.rsplit("::").next().unwrap_or(path).to_owned()
    }

    /// Runs the step; an error fails the attempt.
    fn run(&self, step: &mut Step<'_, S, M>) -> impl Future<Output = ConsumeResult> + Send;
}

/// An activity without the type of its message.
pub(crate) trait AnyActivity<S: Saga>: Send + Sync {
    fn run<'a>(
        &'a self,
        turn: &'a mut Turn<'_, S>,
        message: &'a AnyMessage,
    ) -> BoxFuture<'a, ConsumeResult>;
}

/// An activity with the type of its message.
pub(crate) struct Typed<A, M> {
    pub(crate) activity: A,
    pub(crate) message: std::marker::PhantomData<fn(M)>,
}

impl<S, A, M> AnyActivity<S> for Typed<A, M>
where
    S: Saga,
    A: Activity<S, M>,
    M: Send + Sync + 'static,
{
    fn run<'a>(
        &'a self,
        turn: &'a mut Turn<'_, S>,
        message: &'a AnyMessage,
    ) -> BoxFuture<'a, ConsumeResult> {
        async move {
            let mut step = turn.step::<M>(message)?;
            self.activity.run(&mut step).await
        }
        .boxed()
    }
}
