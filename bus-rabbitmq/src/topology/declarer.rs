//! Declarations, one after the other, on one channel.

use bus_core::topology::{Binding, Exchange, Node, Presence, Queue, QueueKind, Topology};
use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Error};

use super::arguments::{arguments, kind, shown, text};
use crate::connection::Live;
use crate::convert::{short, to_value};
use crate::error::{failed, is_not_found, is_present_otherwise, kind_of, words};

/// Declares on a channel of its own, which is kept until a refusal closes it.
///
/// Kept over many declarations, it saves the two round trips of opening and closing a channel.
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

    /// Closes the channel, so that it does not count against `channel_max` any longer.
    pub(super) async fn close(self) {
        if let Some(channel) = self.channel {
            // Nothing depends on it any more.
            let _ = channel.close(200, "declared".into()).await;
        }
    }

    /// Declares an exchange as its presence says.
    ///
    /// The text of a mismatch names our settings, as the broker names only the first that differs.
    pub(super) async fn exchange(&mut self, exchange: &Exchange) -> Result<(), TransportError> {
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

    /// Looks for an exchange without creating it; its settings are not compared.
    pub(super) async fn finds_exchange(
        &mut self,
        exchange: &Exchange,
    ) -> Result<bool, TransportError> {
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

    /// Declares a queue as its presence says.
    pub(super) async fn queue(&mut self, queue: &Queue) -> Result<(), TransportError> {
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

    /// Looks for a queue without creating it; its settings are not compared.
    pub(super) async fn finds_queue(&mut self, queue: &Queue) -> Result<bool, TransportError> {
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

    /// Binds a queue or an exchange to an exchange.
    ///
    /// Repeating a binding changes nothing. A binding to what does not exist closes the channel
    /// (404).
    pub(super) async fn bind(&mut self, binding: &Binding) -> Result<(), TransportError> {
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

/// Entity that could not be declared.
#[derive(Clone, Copy)]
enum Entity<'a> {
    Exchange(&'a Exchange),
    Queue(&'a Queue),
}

/// Reads the answer to a passive declaration.
///
/// 404 means missing; 405 (another connection owns it) and 406 mean that it exists.
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

/// Creates the error for an entity that only another service declares.
fn missing(what: &str, name: &str) -> TransportError {
    TransportError::new(
        TransportErrorKind::Unroutable,
        format!(
            "{what} `{name}` is not there, and was to be declared by another service; declare it first"
        ),
    )
}

/// Creates the error for a declaration in vain.
///
/// Of a mismatch it names our arguments, the broker's words, and the way out.
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
