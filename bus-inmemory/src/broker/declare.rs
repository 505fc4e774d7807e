//! Declarations: missing entities are made, existing ones are compared.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bus_core::message::HeaderValue;
use bus_core::topology::{self, Binding, ExchangeKind, Node, Presence, Topology};
use bus_core::transport::TransportError;
use tokio::time::Instant;

use super::consumers::ConnectionId;
use super::errors::{self, Entity, check_length, inequivalent};
use super::exchange::{self, Exchange};
use super::message::Name;
use super::queue::Queue;
use super::settings::{self, Arguments};
use super::state::State;

impl State {
    /// Declares exchanges, then queues, then bindings.
    ///
    /// Entities that were declared before an error stay.
    pub(crate) fn declare(
        &mut self,
        connection: ConnectionId,
        topology: &Topology,
    ) -> Result<(), TransportError> {
        self.connection(connection)?;
        for exchange in &topology.exchanges {
            self.declare_exchange(exchange)?;
        }
        for queue in &topology.queues {
            self.declare_queue(connection, queue)?;
        }
        for binding in &topology.bindings {
            self.bind(connection, binding)?;
        }
        Ok(())
    }

    fn declare_exchange(&mut self, declared: &topology::Exchange) -> Result<(), TransportError> {
        let name = declared.name.as_str();
        check_length("exchange name", name)?;
        match (self.exchanges.get(name), declared.presence) {
            (Some(existing), Presence::Declare) => compare_exchange(declared, &existing.settings),
            (Some(_), Presence::IfMissing | Presence::Existing) => Ok(()),
            (None, Presence::Existing) => Err(errors::no_exchange(name)),
            (None, Presence::Declare | Presence::IfMissing) => {
                if name.is_empty() || name.starts_with("amq.") {
                    return Err(errors::reserved(name));
                }
                self.exchanges
                    .insert(name.into(), Exchange::new(declared.clone()));
                self.routes.forget();
                Ok(())
            }
        }
    }

    fn declare_queue(
        &mut self,
        connection: ConnectionId,
        declared: &topology::Queue,
    ) -> Result<(), TransportError> {
        let name = declared.name.as_str();
        check_length("queue name", name)?;
        let arguments = settings::arguments(declared);
        if let Some(queue) = self.queues.get_mut(name) {
            if queue.owner.is_some_and(|owner| owner != connection) {
                return Err(errors::locked(name));
            }
            if declared.presence == Presence::Declare {
                compare_queue(declared, &arguments, queue)?;
            }
            queue.unused_since = Instant::now();
            return Ok(());
        }
        if declared.presence == Presence::Existing {
            return Err(errors::no_queue(name));
        }
        if name.is_empty() || name.starts_with("amq.") {
            return Err(errors::reserved(name));
        }
        let mut queue = Queue::new(declared, arguments, connection)?;
        self.schedule.delete_if_unused(&mut queue);
        self.queues.insert(Arc::clone(&queue.name), queue);
        self.routes.forget();
        Ok(())
    }

    fn bind(&mut self, connection: ConnectionId, declared: &Binding) -> Result<(), TransportError> {
        check_length("routing key", &declared.routing_key)?;
        match &declared.destination {
            Node::Queue(name) => {
                let queue = self.queues.get(name.as_str());
                let queue = queue.ok_or_else(|| errors::no_queue(name))?;
                if queue.owner.is_some_and(|owner| owner != connection) {
                    return Err(errors::locked(name));
                }
            }
            Node::Exchange(name) if self.exchanges.contains_key(name.as_str()) => {}
            Node::Exchange(name) if name.is_empty() => return Err(errors::reserved(name)),
            Node::Exchange(name) => return Err(errors::no_exchange(name)),
        }
        if declared.source.is_empty() {
            return Err(errors::reserved(""));
        }
        let source = self.exchanges.get_mut(declared.source.as_str());
        let source = source.ok_or_else(|| errors::no_exchange(&declared.source))?;
        let binding = exchange::Binding {
            destination: declared.destination.clone(),
            routing_key: declared.routing_key.clone(),
            arguments: declared.arguments.clone(),
        };
        if !source.bindings.contains(&binding) {
            source.bindings.push(binding);
            self.routes.forget();
        }
        Ok(())
    }

    /// Removes all bindings to a node that is gone.
    ///
    /// Auto-delete exchanges that have no binding left are removed too.
    pub(crate) fn unbind(&mut self, gone: &Node) {
        self.routes.forget();
        let mut over: Vec<Name> = Vec::new();
        for (name, exchange) in &mut self.exchanges {
            let before = exchange.bindings.len();
            let bindings = &mut exchange.bindings;
            bindings.retain(|binding| binding.destination != *gone);
            let lost_the_last = bindings.len() < before && bindings.is_empty();
            if lost_the_last && exchange.settings.auto_delete {
                over.push(Arc::clone(name));
            }
        }
        for name in over {
            self.exchanges.remove(&name);
            self.unbind(&Node::Exchange(name.as_ref().to_owned()));
        }
    }
}

fn compare_exchange(
    ours: &topology::Exchange,
    existing: &topology::Exchange,
) -> Result<(), TransportError> {
    let entity = Entity::Exchange(&ours.name);
    let (kind, was) = (kind_name(ours.kind), kind_name(existing.kind));
    same(&entity, "type", &kind, &was)?;
    same(&entity, "durable", &ours.durable, &existing.durable)?;
    let (auto_delete, was) = (ours.auto_delete, existing.auto_delete);
    same(&entity, "auto_delete", &auto_delete, &was)?;
    let alternate = ours.alternate.as_deref().unwrap_or("none");
    let was = existing.alternate.as_deref().unwrap_or("none");
    same(&entity, "alternate-exchange", &alternate, &was)
}

fn compare_queue(
    ours: &topology::Queue,
    arguments: &Arguments,
    existing: &Queue,
) -> Result<(), TransportError> {
    let entity = Entity::Queue(&ours.name);
    same(&entity, "durable", &ours.durable, &existing.durable)?;
    let exclusive = existing.owner.is_some();
    same(&entity, "exclusive", &ours.exclusive, &exclusive)?;
    let auto_delete = existing.auto_delete;
    same(&entity, "auto_delete", &ours.auto_delete, &auto_delete)?;
    let names: BTreeSet<&String> = arguments.keys().chain(existing.arguments.keys()).collect();
    for name in names {
        let received = Argument(arguments.get(name));
        let current = Argument(existing.arguments.get(name));
        same(&entity, name, &received, &current)?;
    }
    Ok(())
}

fn same<T: PartialEq + fmt::Display>(
    entity: &Entity<'_>,
    argument: &str,
    received: &T,
    current: &T,
) -> Result<(), TransportError> {
    if received == current {
        Ok(())
    } else {
        Err(inequivalent(entity, argument, received, current))
    }
}

fn kind_name(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Direct => "direct",
        ExchangeKind::Topic => "topic",
        ExchangeKind::Headers => "headers",
    }
}

/// Value of an argument, formatted as people read it.
#[derive(PartialEq)]
struct Argument<'a>(Option<&'a HeaderValue>);

impl fmt::Display for Argument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None | Some(HeaderValue::Null) => f.write_str("none"),
            Some(HeaderValue::Bool(value)) => value.fmt(f),
            Some(HeaderValue::Int(value)) => value.fmt(f),
            Some(HeaderValue::Unsigned(value)) => value.fmt(f),
            Some(HeaderValue::Float(value)) => value.fmt(f),
            Some(HeaderValue::Text(value)) => write!(f, "'{value}'"),
            Some(other) => write!(f, "{other:?}"),
        }
    }
}
