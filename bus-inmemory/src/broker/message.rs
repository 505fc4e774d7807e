//! A message as the broker keeps it: written once, shared by all queues that hold it.

use std::borrow::Cow;
use std::sync::Arc;

use bus_core::transport::{Incoming, Outgoing};
use tokio::time::Instant;

/// The name of an exchange or queue.
pub(crate) type Name = Arc<str>;

/// One message. Queues share it behind an [`Arc`]: a fan-out copies neither body nor headers.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// What receivers get a copy of; the broker's own stays, as they may give theirs back.
    pub(crate) content: Incoming,
    /// The queues that gave it up, so that dead-lettering in a circle ends.
    pub(crate) given_up_by: Vec<Name>,
}

impl Message {
    /// The message that goes to `exchange` with `routing_key`, whatever its target said.
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
            // A message is moved with all that it says as it is.
            original: None,
        };
        Self {
            content,
            given_up_by: Vec::new(),
        }
    }

    /// The same message on its way to a dead letter exchange. Its own TTL stays behind, as on RabbitMQ: it would end
    /// the message again in the next queue.
    pub(crate) fn dead_lettered(&self, by: &Name, exchange: &str, routing_key: &str) -> Self {
        let mut message = self.clone();
        exchange.clone_into(&mut message.content.exchange);
        routing_key.clone_into(&mut message.content.routing_key);
        message.content.ttl = None;
        message.given_up_by.push(Arc::clone(by));
        message
    }
}

/// A message in one queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    /// Its place in the queue, which it keeps when it comes back.
    pub(crate) position: u64,
    /// When the queue gives it up.
    pub(crate) expires: Option<Instant>,
    /// It was handed to somebody before.
    pub(crate) redelivered: bool,
    /// How often it came back.
    pub(crate) returns: u32,
}

impl Entry {
    pub(crate) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Instant::now())
    }
}
