//! The message that ends a request without a reply.

use std::marker::PhantomData;

use bus_core::Message;
use bus_core::message::MessageType;
use serde::{Deserialize, Serialize};

/// Message of a saga to itself: no reply to its request `Q` came in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct RequestTimedOut<Q> {
    #[serde(skip)]
    request: PhantomData<fn(Q)>,
}

impl<Q> RequestTimedOut<Q> {
    /// Creates the message, as a test needs it.
    pub fn new() -> Self {
        Self {
            request: PhantomData,
        }
    }
}

impl<Q> Default for RequestTimedOut<Q> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Q: Message> Message for RequestTimedOut<Q> {
    fn message_type() -> MessageType {
        MessageType::new("Sagas:RequestTimedOut").with_arguments([Q::message_type()])
    }
}
