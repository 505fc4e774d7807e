//! Message as the broker keeps it: written once, shared by all queues that hold it.

use std::borrow::Cow;
use std::sync::Arc;

use bus_core::transport::{Incoming, Outgoing};
use tokio::time::Instant;

/// Name of an exchange or queue.
pub(crate) type Name = Arc<str>;

/// One message.
///
/// Queues share it behind an [`Arc`]: a fan-out copies neither body nor headers.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Content, of which each receiver gets a copy.
    ///
    /// The broker's own stays, as receivers may give theirs back.
    pub(crate) content: Incoming,
    /// Queues that gave it up, so that dead-lettering in a circle ends.
    pub(crate) given_up_by: Vec<Name>,
    /// Queue that it was sent to, past every exchange.
    pub(crate) inbox: Option<Name>,
}

impl Message {
    /// Creates the message that goes to `exchange` with `routing_key`.
    ///
    /// The target of `outgoing` is ignored.
    pub(crate) fn new(exchange: String, routing_key: String, outgoing: Outgoing) -> Self {
        let content = Incoming {
            body: outgoing.body,
            content_type: outgoing.content_type.map(Cow::into_owned),
            message_id: outgoing.message_id,
            correlation_id: outgoing.correlation_id,
            headers: outgoing.headers,
            exchange,
            routing_key,
            redelivered: false,
            delivery_count: None,
            priority: outgoing.priority,
            ttl: outgoing.ttl,
            durable: outgoing.durable,
            // A message is moved as it is, with all its properties.
            original: None,
        };
        Self {
            content,
            given_up_by: Vec::new(),
            inbox: None,
        }
    }

    /// Creates the message that goes to a queue, past every exchange.
    pub(crate) fn to_inbox(queue: &str, routing_key: String, outgoing: Outgoing) -> Self {
        Self {
            inbox: Some(queue.into()),
            ..Self::new(String::new(), routing_key, outgoing)
        }
    }

    /// Creates the same message on its way to a dead letter exchange.
    ///
    /// Its own TTL stays behind, as on RabbitMQ: it would end the message again in the next queue.
    pub(crate) fn dead_lettered(&self, by: &Name, exchange: &str, routing_key: &str) -> Self {
        let mut message = self.clone();
        exchange.clone_into(&mut message.content.exchange);
        routing_key.clone_into(&mut message.content.routing_key);
        message.content.ttl = None;
        message.inbox = None;
        message.given_up_by.push(Arc::clone(by));
        message
    }
}

/// Turn of a delivery, where everything is delivered twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    First,
    Second,
}

/// Message in one queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    /// Place in the queue, which it keeps when it comes back.
    pub(crate) position: u64,
    /// Time at which the queue gives it up.
    pub(crate) expires: Option<Instant>,
    /// Turn of its delivery, where everything is delivered twice.
    pub(crate) turn: Turn,
    /// `true` if it was handed to a consumer before.
    pub(crate) redelivered: bool,
    /// Number of times that it came back.
    pub(crate) returns: u32,
}

impl Entry {
    pub(crate) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Instant::now())
    }
}
