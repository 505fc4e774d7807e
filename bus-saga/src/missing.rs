//! Events without an instance, and events that a state does not expect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bus_core::Message;
use bus_core::consume::AnyMessage;

use crate::effect::{Leaving, Way};

type Answer = dyn Fn(&AnyMessage) -> Option<Leaving> + Send + Sync;

/// Consequence of an event `M` without an instance, which begins none.
///
/// Set by [`StateMachine::missing`](crate::StateMachine::missing). Instances that have finished are
/// not missing: what comes for them is acknowledged, and changes nothing.
pub struct Missing<M> {
    any: AnyMissing,
    message: std::marker::PhantomData<fn(M)>,
}

impl<M: 'static> Missing<M> {
    fn new(any: AnyMissing) -> Self {
        Self {
            any,
            message: std::marker::PhantomData,
        }
    }

    /// Fails with [`SagaError::Missing`](crate::SagaError::Missing); the default.
    ///
    /// The retry and redelivery policies of the endpoint apply, then its error queue.
    pub fn fault() -> Self {
        Self::new(AnyMissing::Fault)
    }

    /// Acknowledges the message, and does nothing.
    pub fn discard() -> Self {
        Self::new(AnyMissing::Discard)
    }

    /// Lets the message come again so many times, after this time each; then it fails.
    ///
    /// For events that may overtake the one that begins the instance. The transport must be able to
    /// delay messages.
    pub fn redeliver(times: u32, wait: Duration) -> Self {
        Self::new(AnyMissing::Redeliver(times, wait))
    }

    /// Responds that there is no such instance.
    pub fn respond<D: Message>(answer: impl Fn(&M) -> D + Send + Sync + 'static) -> Self {
        Self::new(AnyMissing::Respond(Arc::new(move |message| {
            let message = message.downcast_ref::<M>()?;
            Some(Leaving::new(Way::Respond, answer(message)))
        })))
    }

    pub(crate) fn erase(self) -> AnyMissing {
        self.any
    }
}

impl<M> fmt::Debug for Missing<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any.fmt(f)
    }
}

/// A [`Missing`] without the type of its message.
#[derive(Clone)]
pub(crate) enum AnyMissing {
    Fault,
    Discard,
    Redeliver(u32, Duration),
    Respond(Arc<Answer>),
}

impl fmt::Debug for AnyMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault => f.write_str("Fault"),
            Self::Discard => f.write_str("Discard"),
            Self::Redeliver(times, wait) => {
                f.debug_tuple("Redeliver").field(times).field(wait).finish()
            }
            Self::Respond(_) => f.write_str("Respond"),
        }
    }
}

/// Consequence of an event that the state of its instance does not expect.
///
/// Set by [`StateMachine::unexpected`](crate::StateMachine::unexpected) for all pairs of state and
/// event that the machine does not name. Without it, each such pair is a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unexpected {
    /// Fails with [`SagaError::Unexpected`](crate::SagaError::Unexpected).
    ///
    /// The retry and redelivery policies of the endpoint apply, then its error queue.
    Fault,
    /// Acknowledges the message, and does nothing.
    Ignore,
    /// Keeps the event, and handles it in the first state that expects it.
    Postpone,
}
