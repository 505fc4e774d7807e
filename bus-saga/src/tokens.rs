//! Tokens of what a state machine has declared: events, timeouts, requests, keys.

use std::fmt;
use std::marker::PhantomData;

use bus_core::{Fault, Message};

use crate::by::By;
use crate::repository::Find;
use crate::request::RequestTimedOut;
use crate::saga::SagaState;

/// Event of the saga `S` whose message is an `M`.
///
/// Made by [`StateMachine::event`](crate::StateMachine::event) and valid for that machine only.
pub struct Event<S, M> {
    pub(crate) index: usize,
    types: PhantomData<fn(S, M)>,
}

impl<S, M> Event<S, M> {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            types: PhantomData,
        }
    }

    /// Returns the event without the type of its message, for lists.
    pub fn any(self) -> AnyEvent<S> {
        AnyEvent {
            index: self.index,
            saga: PhantomData,
        }
    }
}

impl<S, M> Clone for Event<S, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, M> Copy for Event<S, M> {}

impl<S, M> fmt::Debug for Event<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.index).finish()
    }
}

/// Event of the saga `S`, of any message.
pub struct AnyEvent<S> {
    index: usize,
    saga: PhantomData<fn(S)>,
}

impl<S> Clone for AnyEvent<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for AnyEvent<S> {}

impl<S> fmt::Debug for AnyEvent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyEvent").field(&self.index).finish()
    }
}

/// One event or several: `paid`, or `[paid.any(), shipped.any()]`.
pub trait Events<S> {
    #[doc(hidden)]
    fn indices(self) -> Vec<usize>;
}

impl<S, M> Events<S> for Event<S, M> {
    fn indices(self) -> Vec<usize> {
        vec![self.index]
    }
}

impl<S> Events<S> for AnyEvent<S> {
    fn indices(self) -> Vec<usize> {
        vec![self.index]
    }
}

impl<S, const N: usize> Events<S> for [AnyEvent<S>; N] {
    fn indices(self) -> Vec<usize> {
        self.into_iter().map(|event| event.index).collect()
    }
}

/// One state or several: `Unpaid`, `[Unpaid, Packing]`, or a slice.
pub trait States<T> {
    #[doc(hidden)]
    fn list(self) -> Vec<T>;
}

impl<T: SagaState> States<T> for T {
    fn list(self) -> Vec<T> {
        vec![self]
    }
}

impl<T: SagaState, const N: usize> States<T> for [T; N] {
    fn list(self) -> Vec<T> {
        self.into()
    }
}

impl<T: SagaState> States<T> for &[T] {
    fn list(self) -> Vec<T> {
        self.to_vec()
    }
}

/// Timeout of the saga `S`: a message `M` to itself, for later.
///
/// Made by [`StateMachine::timeout`](crate::StateMachine::timeout).
pub struct Timeout<S, M> {
    /// The event that comes when the time is over.
    pub fired: Event<S, M>,
    pub(crate) timer: usize,
}

impl<S, M> Clone for Timeout<S, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, M> Copy for Timeout<S, M> {}

impl<S, M> fmt::Debug for Timeout<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("fired", &self.fired)
            .finish_non_exhaustive()
    }
}

/// Request of the saga `S` to another service: a `Q`, answered by an `A`.
///
/// Made by [`StateMachine::request`](crate::StateMachine::request). One of its three events comes.
pub struct Request<S, Q, A> {
    /// The reply has come.
    pub completed: Event<S, A>,
    /// The other service has failed.
    pub faulted: Event<S, Fault<Q>>,
    /// Neither has come in time.
    pub timed_out: Event<S, RequestTimedOut<Q>>,
    pub(crate) timer: usize,
}

impl<S, Q, A> Clone for Request<S, Q, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, Q, A> Copy for Request<S, Q, A> {}

impl<S, Q, A> fmt::Debug for Request<S, Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("completed", &self.completed)
            .finish_non_exhaustive()
    }
}

/// Business key of the saga `S`, by which events find their instance.
///
/// Made by [`StateMachine::key`](crate::StateMachine::key).
pub struct Key<S> {
    name: &'static str,
    saga: PhantomData<fn(S)>,
}

impl<S> Key<S> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            saga: PhantomData,
        }
    }

    /// Correlates messages of type `M` by this key.
    ///
    /// A text without any character counts as none.
    pub fn of<M: Message, K: Into<String>>(
        self,
        value: impl Fn(&M) -> K + Send + Sync + 'static,
    ) -> By<M> {
        let name = self.name;
        By::new(move |message, _| {
            let value: String = value(message).into();
            let name = name.to_owned();
            (!value.is_empty()).then_some(Find::Key { name, value })
        })
    }
}

impl<S> Clone for Key<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Key<S> {}

impl<S> fmt::Debug for Key<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}
