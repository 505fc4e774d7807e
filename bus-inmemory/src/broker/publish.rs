//! Messages on their way in: from a target to queues, now or later.

use std::borrow::Cow;
use std::sync::Arc;

use bus_core::topology::{Binding, Exchange, Node, Presence, Queue, Topology};
use bus_core::transport::{Incoming, Outgoing, ScheduleToken, Target, TransportError};
use tokio::time::Instant;

use super::consumers::ConnectionId;
use super::disorder::Held;
use super::errors::{self, check_length};
use super::flow::GivenUp;
use super::message::{Message, Name, Turn};
use super::routes::Route;
use super::state::State;

/// Message that is ready to be published, and the topology that it needs.
#[derive(Debug)]
pub(crate) struct Publication {
    message: Arc<Message>,
    needs: Needs,
    mandatory: bool,
    deliver_at: Option<Instant>,
    token: Option<ScheduleToken>,
}

/// Topology that is declared before a message is sent.
#[derive(Debug)]
enum Needs {
    Nothing,
    /// Queue with the exchange of the same name.
    Queue,
    Topology(Arc<Topology>),
}

impl Publication {
    /// Prepares a message.
    ///
    /// # Errors
    /// Fails for a name or key that AMQP could not carry.
    pub(crate) fn new(mut outgoing: Outgoing) -> Result<Self, TransportError> {
        check(&outgoing)?;
        let target = std::mem::replace(&mut outgoing.target, Target::Inbox(Cow::Borrowed("")));
        let key = std::mem::take(&mut outgoing.routing_key);
        let key = key.into_owned();
        let (mandatory, token) = (outgoing.mandatory, outgoing.schedule_token);
        let deliver_at = outgoing.deliver_at.filter(|at| *at > Instant::now());
        let (needs, message) = match target {
            Target::Exchange { name, topology } => (
                topology.map_or(Needs::Nothing, Needs::Topology),
                Message::new(name.into_owned(), key, outgoing),
            ),
            Target::Queue(name) => (Needs::Queue, Message::new(name.into_owned(), key, outgoing)),
            Target::Inbox(queue) => {
                // As RabbitMQ routes it, but for one that waits: that keeps its own.
                let key = deliver_at.map_or_else(|| queue.clone().into_owned(), |_| key);
                (Needs::Nothing, Message::to_inbox(&queue, key, outgoing))
            }
        };
        Ok(Self {
            message: Arc::new(message),
            needs,
            mandatory,
            deliver_at,
            token,
        })
    }
}

/// Refuses names and keys that AMQP could not carry.
pub(crate) fn check(outgoing: &Outgoing) -> Result<(), TransportError> {
    check_length("exchange name", outgoing.target.name())?;
    check_length("routing key", &outgoing.routing_key)?;
    for (name, _) in outgoing.headers.iter() {
        check_length("header name", name)?;
    }
    Ok(())
}

impl State {
    /// Publishes for a connection.
    ///
    /// # Errors
    /// The errors of [`Transport::send`](bus_core::transport::Transport::send). A message that one
    /// of several queues refuses is in the others all the same, as on RabbitMQ.
    pub(crate) fn publish(
        &mut self,
        connection: ConnectionId,
        publication: Publication,
    ) -> Result<(), TransportError> {
        let Publication {
            message,
            needs,
            mandatory,
            deliver_at,
            token,
        } = publication;
        let Incoming {
            exchange,
            routing_key,
            ..
        } = &message.content;
        self.provide(connection, exchange, needs)?;
        if !exchange.is_empty() && !self.exchanges.contains_key(exchange.as_str()) {
            return Err(errors::no_exchange(exchange));
        }
        let route = self.route_of(&message);
        // The default exchange is only used to reach one queue, by its name: its absence is always
        // an error.
        if route.is_empty() && (mandatory || exchange.is_empty()) {
            return Err(errors::unroutable(exchange, routing_key));
        }
        match deliver_at {
            Some(due) => self.schedule.deliver_at(due, message, token),
            None => self.put(&route, &message),
        }
    }

    /// Publishes a delayed message, whose sender no longer waits for the outcome.
    pub(crate) fn publish_due(&mut self, message: &Arc<Message>) {
        let Incoming {
            exchange,
            routing_key,
            ..
        } = &message.content;
        let route = self.route_of(message);
        if route.is_empty() {
            tracing::warn!(
                exchange,
                routing_key,
                "no queue takes a delayed message; it is dropped"
            );
        }
        if let Err(error) = self.put(&route, message) {
            tracing::warn!(%error, "a delayed message is refused and dropped");
        }
    }

    /// Returns the queues that take a message.
    fn route_of(&mut self, message: &Message) -> Route {
        let content = &message.content;
        match &message.inbox {
            Some(queue) => self.route("", queue, &content.headers),
            None => self.route(&content.exchange, &content.routing_key, &content.headers),
        }
    }

    fn put(&mut self, route: &[Name], message: &Arc<Message>) -> Result<(), TransportError> {
        let mut outcome = Ok(());
        for name in route {
            let held = self.hold(Held {
                queue: Arc::clone(name),
                message: Arc::clone(message),
                turn: Turn::First,
            });
            let Err(Held { message, turn, .. }) = held else {
                continue;
            };
            let put = self.change(name, |queue, flow| queue.put(message, turn, flow));
            outcome = outcome.and(put.unwrap_or(Ok(())));
        }
        outcome
    }

    /// Sends messages that queues gave up to their dead letter exchanges.
    ///
    /// That may make other queues give up messages.
    pub(crate) fn forward_given_up(&mut self) {
        while let Some(GivenUp { by, entry, to }) = self.flow.given_up.pop_front() {
            let content = &entry.message.content;
            let key = to.routing_key.as_ref().unwrap_or(&content.routing_key);
            let route = self.route(&to.exchange, key, &content.headers);
            let message = Arc::new(entry.message.dead_lettered(&by, &to.exchange, key));
            // Only the broker moves a message here, so one that came back would circulate without
            // end.
            let onward = route
                .iter()
                .filter(|queue| !message.given_up_by.contains(queue));
            for queue in onward {
                if let Some(queue) = self.queues.get_mut(queue) {
                    // A full dead letter queue loses messages, on RabbitMQ too.
                    let _ = queue.put(Arc::clone(&message), Turn::First, &mut self.flow);
                    self.schedule.look_after(queue);
                }
            }
        }
    }

    /// Declares the topology of a message when its connection first sends there.
    fn provide(
        &mut self,
        connection: ConnectionId,
        exchange: &str,
        needs: Needs,
    ) -> Result<(), TransportError> {
        let known = self.connection(connection)?.declared.get(exchange);
        match needs {
            Needs::Nothing => Ok(()),
            Needs::Queue => self.provide_queue(connection, exchange),
            Needs::Topology(topology) => {
                let is_known =
                    known.is_some_and(|known| Arc::ptr_eq(known, &topology) || *known == topology);
                if is_known && self.exchanges.contains_key(exchange) {
                    return Ok(());
                }
                self.declare(connection, &topology)?;
                let declared = &mut self.connection(connection)?.declared;
                declared.insert(exchange.into(), topology);
                Ok(())
            }
        }
    }

    /// Declares the exchange and the queue that a sender to a queue expects.
    ///
    /// An existing queue may be bound otherwise.
    fn provide_queue(
        &mut self,
        connection: ConnectionId,
        name: &str,
    ) -> Result<(), TransportError> {
        if self.queues.contains_key(name) && self.exchanges.contains_key(name) {
            return Ok(());
        }
        let mut topology = Topology {
            exchanges: vec![Exchange {
                presence: Presence::IfMissing,
                ..Exchange::fanout(name)
            }],
            ..Topology::default()
        };
        if !self.queues.contains_key(name) {
            topology.queues.push(Queue::classic(name));
            let binding = Binding::new(name, Node::Queue(name.to_owned()));
            topology.bindings.push(binding);
        }
        self.declare(connection, &topology)
    }
}
