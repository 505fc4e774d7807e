//! Exchanges, queues and bindings: the only place that names them to the broker.

use std::fmt::Write as _;
use std::time::Duration;

use bus_core::topology::{
    Binding, Exchange, ExchangeKind, Node, Overflow, Presence, Queue, QueueKind, Topology,
};
use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Error};

use crate::connection::Live;
use crate::convert::{short, to_value};
use crate::error::{failed, is_not_found, is_present_otherwise, is_refused, kind_of, words};

/// Declares everything, in order, on a channel of its own.
///
/// The channel is thrown away: one refusal closes it, and nothing else may suffer.
pub(crate) async fn declare(live: &Live, topology: &Topology) -> Result<(), TransportError> {
    let mut declarer = Declarer::new(live);
    declarer.declare(topology).await?;
    declarer.close().await;
    Ok(())
}

/// Ensures that the queue and the exchange for a sender to `queue:name` exist.
///
/// An existing entity stays as it is, with any arguments; a missing one becomes durable and
/// classic, as MassTransit makes it.
pub(crate) async fn ensure_queue(live: &Live, name: &str) -> Result<(), TransportError> {
    let mut declarer = Declarer::new(live);
    let exchange = Exchange {
        presence: Presence::IfMissing,
        ..Exchange::fanout(name)
    };
    let queue = Queue {
        presence: Presence::IfMissing,
        ..Queue::classic(name)
    };
    declarer.exchange(&exchange).await?;
    declarer.queue(&queue).await?;
    // Bound again also where both are there: a broker that crashed may have lost a young binding.
    let binding = Binding::new(name, Node::Queue(name.to_owned()));
    match declarer.bind(&binding).await {
        // A queue of another service, which has bound it.
        Err(error) if is_refused(&error) => {
            tracing::debug!(queue = name, %error, "the queue is used as it is");
        }
        outcome => outcome?,
    }
    declarer.close().await;
    Ok(())
}

/// Returns whether a queue exists.
pub(crate) async fn queue_exists(live: &Live, name: &str) -> Result<bool, TransportError> {
    let mut declarer = Declarer::new(live);
    let exists = declarer.finds_queue(&Queue::classic(name)).await?;
    declarer.close().await;
    Ok(exists)
}

/// Returns whether an exchange exists.
pub(crate) async fn exchange_exists(live: &Live, name: &str) -> Result<bool, TransportError> {
    let mut declarer = Declarer::new(live);
    let exists = declarer.finds_exchange(&Exchange::fanout(name)).await?;
    declarer.close().await;
    Ok(exists)
}

/// Declares on a channel of its own, which is kept until a refusal closes it.
pub(crate) struct Declarer<'a> {
    live: &'a Live,
    channel: Option<Channel>,
}

impl<'a> Declarer<'a> {
    pub(crate) fn new(live: &'a Live) -> Self {
        Self {
            live,
            channel: None,
        }
    }

    /// Declares everything, in order.
    pub(crate) async fn declare(&mut self, topology: &Topology) -> Result<(), TransportError> {
        for exchange in &topology.exchanges {
            self.exchange(exchange).await?;
        }
        for queue in &topology.queues {
            self.queue(queue).await?;
        }
        for binding in &topology.bindings {
            self.bind(binding).await?;
        }
        Ok(())
    }

    /// Returns the channel, opened again after a refusal.
    async fn channel(&mut self) -> Result<Channel, TransportError> {
        match &self.channel {
            Some(channel) if channel.status().connected() => Ok(channel.clone()),
            _ => {
                let channel = self.live.channel().await?;
                self.channel = Some(channel.clone());
                Ok(channel)
            }
        }
    }

    async fn close(self) {
        if let Some(channel) = self.channel {
            // Nothing depends on it any more.
            let _ = channel.close(200, "declared".into()).await;
        }
    }

    async fn exchange(&mut self, exchange: &Exchange) -> Result<(), TransportError> {
        if exchange.presence == Presence::Existing {
            let found = self.finds_exchange(exchange).await?;
            return found
                .then_some(())
                .ok_or_else(|| missing("exchange", &exchange.name));
        }
        let options = ExchangeDeclareOptions {
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            ..ExchangeDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        if let Some(alternate) = &exchange.alternate {
            arguments.insert("alternate-exchange".into(), text(alternate));
        }
        let ours = format!(
            "{:?}, durable: {}, auto_delete: {}, arguments: {}",
            exchange.kind,
            exchange.durable,
            exchange.auto_delete,
            shown(&arguments)
        );
        let name = short("exchange name", &exchange.name)?;
        let channel = self.channel().await?;
        let declared = channel
            .exchange_declare(name, kind(exchange.kind), options, arguments)
            .await;
        match declared {
            Err(error) if exchange.presence == Presence::IfMissing => {
                let usable = self.is_usable(&error, Entity::Exchange(exchange)).await?;
                usable
                    .then_some(())
                    .ok_or_else(|| refused("exchange", &exchange.name, &ours, "", error))
            }
            Err(error) => Err(refused("exchange", &exchange.name, &ours, "", error)),
            Ok(()) => Ok(()),
        }
    }

    /// Returns `true` if an entity that could not be declared exists all the same.
    ///
    /// It is declared first and looked up then, as the client logs an error for each lookup in
    /// vain.
    async fn is_usable(
        &mut self,
        error: &Error,
        entity: Entity<'_>,
    ) -> Result<bool, TransportError> {
        if is_present_otherwise(error) {
            return Ok(true);
        }
        if kind_of(error) != TransportErrorKind::AccessRefused {
            return Ok(false);
        }
        match entity {
            Entity::Exchange(exchange) => self.finds_exchange(exchange).await,
            Entity::Queue(queue) => self.finds_queue(queue).await,
        }
    }

    async fn finds_exchange(&mut self, exchange: &Exchange) -> Result<bool, TransportError> {
        let options = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let name = short("exchange name", &exchange.name)?;
        let channel = self.channel().await?;
        let found = channel
            .exchange_declare(name, kind(exchange.kind), options, FieldTable::default())
            .await;
        presence("exchange", &exchange.name, found)
    }

    async fn queue(&mut self, queue: &Queue) -> Result<(), TransportError> {
        if queue.presence == Presence::Existing {
            let found = self.finds_queue(queue).await?;
            return found
                .then_some(())
                .ok_or_else(|| missing("queue", &queue.name));
        }
        let options = QueueDeclareOptions {
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            ..QueueDeclareOptions::default()
        };
        let arguments = arguments(queue)?;
        let ours = format!(
            "durable: {}, exclusive: {}, auto_delete: {}, arguments: {}",
            queue.durable,
            queue.exclusive,
            queue.auto_delete,
            shown(&arguments)
        );
        let advice = if queue.kind == QueueKind::Quorum && queue.dead_letter.is_some() {
            ", or Queue::plain_quorum(…) if MassTransit made it"
        } else {
            ""
        };
        let name = short("queue name", &queue.name)?;
        let channel = self.channel().await?;
        let declared = channel.queue_declare(name, options, arguments).await;
        match declared {
            Err(error) if queue.presence == Presence::IfMissing => {
                let usable = self.is_usable(&error, Entity::Queue(queue)).await?;
                usable
                    .then_some(())
                    .ok_or_else(|| refused("queue", &queue.name, &ours, advice, error))
            }
            Err(error) => Err(refused("queue", &queue.name, &ours, advice, error)),
            Ok(_) => Ok(()),
        }
    }

    async fn finds_queue(&mut self, queue: &Queue) -> Result<bool, TransportError> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let name = short("queue name", &queue.name)?;
        let channel = self.channel().await?;
        let found = channel
            .queue_declare(name, options, FieldTable::default())
            .await;
        presence("queue", &queue.name, found.map(drop))
    }

    async fn bind(&mut self, binding: &Binding) -> Result<(), TransportError> {
        let source = short("exchange name", &binding.source)?;
        let key = short("routing key", &binding.routing_key)?;
        let mut arguments = FieldTable::default();
        for (name, value) in &binding.arguments {
            arguments.insert(short("binding argument", name)?, to_value(value)?);
        }
        let channel = self.channel().await?;
        let (bound, destination) = match &binding.destination {
            Node::Queue(queue) => {
                let name = short("queue name", queue)?;
                let options = QueueBindOptions::default();
                (
                    channel
                        .queue_bind(name, source, key, options, arguments)
                        .await,
                    queue,
                )
            }
            Node::Exchange(exchange) => {
                let name = short("exchange name", exchange)?;
                let options = ExchangeBindOptions::default();
                (
                    channel
                        .exchange_bind(name, source, key, options, arguments)
                        .await,
                    exchange,
                )
            }
        };
        bound.map_err(|error| {
            failed(
                format_args!(
                    "`{destination}` cannot be bound to exchange `{}`",
                    binding.source
                ),
                error,
            )
        })
    }
}

#[derive(Clone, Copy)]
enum Entity<'a> {
    Exchange(&'a Exchange),
    Queue(&'a Queue),
}

fn presence(what: &str, name: &str, found: Result<(), Error>) -> Result<bool, TransportError> {
    match found {
        Ok(()) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) if is_present_otherwise(&error) => Ok(true),
        Err(error) => Err(failed(
            format_args!("{what} `{name}` cannot be looked up"),
            error,
        )),
    }
}

fn missing(what: &str, name: &str) -> TransportError {
    TransportError::new(
        TransportErrorKind::Unroutable,
        format!(
            "{what} `{name}` is not there, and was to be declared by another service; declare it first"
        ),
    )
}

fn refused(what: &str, name: &str, ours: &str, advice: &str, error: Error) -> TransportError {
    let kind = kind_of(&error);
    if kind != TransportErrorKind::Mismatch {
        return failed(format_args!("{what} `{name}` cannot be declared"), error);
    }
    let text = format!(
        "{what} `{name}` exists with other arguments. Ours: {ours}. RabbitMQ says: {}. \
         Use the settings it was declared with, or another name{advice}",
        words(&error)
    );
    TransportError::new(kind, text).with_source(error)
}

fn kind(kind: ExchangeKind) -> lapin::ExchangeKind {
    match kind {
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Headers => lapin::ExchangeKind::Headers,
    }
}

fn arguments(queue: &Queue) -> Result<FieldTable, TransportError> {
    let mut arguments = FieldTable::default();
    for (name, value) in &queue.arguments {
        arguments.insert(short("queue argument", name)?, to_value(value)?);
    }
    let mut set = |name: &'static str, value: Option<AMQPValue>| {
        if let Some(value) = value {
            arguments.insert(name.into(), value);
        }
    };
    let queue_type = match queue.kind {
        QueueKind::Classic => None,
        QueueKind::Quorum => Some(text("quorum")),
        QueueKind::Stream => Some(text("stream")),
    };
    set("x-queue-type", queue_type);
    set("x-expires", queue.expires.map(millis));
    set("x-message-ttl", queue.message_ttl.map(millis));
    set("x-max-length", queue.max_length.map(number));
    let overflow = queue.overflow.map(|overflow| match overflow {
        Overflow::DropHead => text("drop-head"),
        Overflow::RejectPublish => text("reject-publish"),
    });
    set("x-overflow", overflow);
    set(
        "x-max-priority",
        queue.max_priority.map(|highest| number(highest.into())),
    );
    let single = queue
        .single_active_consumer
        .then_some(AMQPValue::Boolean(true));
    set("x-single-active-consumer", single);
    set(
        "x-delivery-limit",
        queue.delivery_limit.map(|limit| number(limit.into())),
    );
    if let Some(dead_letter) = &queue.dead_letter {
        set("x-dead-letter-exchange", Some(text(&dead_letter.exchange)));
        let key = dead_letter.routing_key.as_deref().map(text);
        set("x-dead-letter-routing-key", key);
    }
    Ok(arguments)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

fn millis(duration: Duration) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Formats arguments as people write them.
fn shown(arguments: &FieldTable) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in arguments.inner().iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let shown = match value {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            AMQPValue::LongLongInt(number) => number.to_string(),
            AMQPValue::LongInt(number) => number.to_string(),
            AMQPValue::Boolean(value) => value.to_string(),
            other => format!("{other:?}"),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{}={shown}", ShortString::as_str(name));
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use bus_core::topology::DeadLetter;

    use super::*;

    #[test]
    fn a_plain_queue_has_no_arguments() {
        assert_eq!(shown(&arguments(&Queue::classic("q")).unwrap()), "{}");
    }

    #[test]
    fn every_setting_becomes_an_argument() {
        let queue = Queue {
            kind: QueueKind::Quorum,
            expires: Some(Duration::from_secs(60)),
            message_ttl: Some(Duration::from_millis(1500)),
            max_length: Some(7),
            overflow: Some(Overflow::RejectPublish),
            max_priority: Some(9),
            single_active_consumer: true,
            delivery_limit: Some(1000),
            dead_letter: Some(DeadLetter {
                exchange: String::new(),
                routing_key: Some("q_error".to_owned()),
            }),
            arguments: [("x-own".to_owned(), 5.into())].into(),
            ..Queue::classic("q")
        };
        assert_eq!(
            shown(&arguments(&queue).unwrap()),
            "{x-dead-letter-exchange=, x-dead-letter-routing-key=q_error, x-delivery-limit=1000, x-expires=60000, \
             x-max-length=7, x-max-priority=9, x-message-ttl=1500, x-overflow=reject-publish, x-own=5, \
             x-queue-type=quorum, x-single-active-consumer=true}"
        );
    }
}
