//! A message as the broker keeps it: written once, shared by all queues that hold it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bus_core::Headers;
use bus_core::transport::{Incoming, Outgoing};
use bytes::Bytes;
use tokio::time::Instant;

/// The name of an exchange or queue.
pub(crate) type Name = Arc<str>;

/// One message. Queues share it behind an [`Arc`]: a fan-out copies neither body nor headers.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) exchange: Cow<'static, str>,
    pub(crate) routing_key: Cow<'static, str>,
    body: Bytes,
    content_type: Option<Cow<'static, str>>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    pub(crate) headers: Headers,
    pub(crate) ttl: Option<Duration>,
    pub(crate) priority: Option<u8>,
    durable: bool,
    /// The queues that gave it up, so that dead-lettering in a circle ends.
    pub(crate) given_up_by: Vec<Name>,
}

impl Message {
    /// The message that goes to `exchange` with `routing_key`, whatever its target said.
    pub(crate) fn new(
        exchange: Cow<'static, str>,
        routing_key: Cow<'static, str>,
        outgoing: Outgoing,
    ) -> Self {
        Self {
            exchange,
            routing_key,
            body: outgoing.body,
            content_type: outgoing.content_type,
            message_id: outgoing.message_id,
            correlation_id: outgoing.correlation_id,
            headers: outgoing.headers,
            ttl: outgoing.ttl,
            priority: outgoing.priority,
            durable: outgoing.durable,
            given_up_by: Vec::new(),
        }
    }

    /// The same message on its way to a dead letter exchange. Its own TTL stays behind, as on RabbitMQ: it would end
    /// the message again in the next queue.
    pub(crate) fn dead_lettered(&self, by: &Name, exchange: &str, routing_key: &str) -> Self {
        let mut message = self.clone();
        message.exchange = Cow::Owned(exchange.to_owned());
        message.routing_key = Cow::Owned(routing_key.to_owned());
        message.ttl = None;
        message.given_up_by.push(Arc::clone(by));
        message
    }

    /// What the receiver sees.
    pub(crate) fn incoming(&self) -> Incoming {
        Incoming {
            body: self.body.clone(),
            content_type: self.content_type.as_deref().map(str::to_owned),
            message_id: self.message_id.clone(),
            correlation_id: self.correlation_id.clone(),
            headers: self.headers.clone(),
            exchange: self.exchange.clone().into_owned(),
            routing_key: self.routing_key.clone().into_owned(),
            redelivered: false,
            delivery_count: None,
            priority: self.priority,
            ttl: self.ttl,
            durable: self.durable,
        }
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
