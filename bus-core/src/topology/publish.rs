//! Declaration of one contract's exchange, and routing keys of its messages.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::message::{Message, MessageType};
use crate::topology::{Binding, Exchange, ExchangeKind, Node, Topology};

/// Function that makes the routing key of a message of one type.
pub(crate) type KeyOf = dyn Fn(&(dyn Any + Send + Sync)) -> String + Send + Sync;

/// Name that a transport gives the exchange of a type.
type EntityName = dyn Fn(&MessageType) -> String + Send + Sync;

/// Exchange of `M`, where a durable fanout exchange is not what is wanted.
///
/// Publishers and consumers of a type must agree on its exchange: give both buses the same setting.
///
/// ```
/// use bus_core::topology::PublishTopology;
/// use bus_core::Message;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Pricing:PriceChanged")]
/// struct PriceChanged { region: String }
///
/// let topology = PublishTopology::<PriceChanged>::topic().routing_key(|price| price.region.clone());
/// // Bus::builder(transport).publish_topology(topology)
/// ```
pub struct PublishTopology<M> {
    settings: Settings,
    message: PhantomData<fn(&M)>,
}

impl<M: Message> PublishTopology<M> {
    /// Chooses a fanout exchange: every subscriber gets every message.
    #[must_use]
    pub fn fanout() -> Self {
        Self::of(ExchangeKind::Fanout)
    }

    /// Chooses a direct exchange: subscribers name the key.
    #[must_use]
    pub fn direct() -> Self {
        Self::of(ExchangeKind::Direct)
    }

    /// Chooses a topic exchange: subscribers name a pattern of words joined by `.`.
    #[must_use]
    pub fn topic() -> Self {
        Self::of(ExchangeKind::Topic)
    }

    /// Chooses a headers exchange: subscribers name header values.
    #[must_use]
    pub fn headers() -> Self {
        Self::of(ExchangeKind::Headers)
    }

    fn of(kind: ExchangeKind) -> Self {
        Self {
            settings: Settings {
                kind,
                ..Settings::default()
            },
            message: PhantomData,
        }
    }

    /// Sets the routing key of each message that is published without one.
    ///
    /// Default: the empty key.
    #[must_use]
    pub fn routing_key(mut self, key: impl Fn(&M) -> String + Send + Sync + 'static) -> Self {
        self.settings.key = Some(Arc::new(move |message| {
            message.downcast_ref::<M>().map(&key).unwrap_or_default()
        }));
        self
    }

    /// Sets the exchange that receives messages for which there is no subscription.
    ///
    /// It is declared as a durable fanout exchange. An endpoint of that name consumes it. Default:
    /// none.
    #[must_use]
    pub fn alternate_exchange(mut self, name: impl Into<String>) -> Self {
        self.settings.alternate = Some(name.into());
        self
    }

    /// Sets another name for the exchange.
    ///
    /// Default: the name that the transport gives the type, `Namespace:Name` on RabbitMQ.
    #[must_use]
    pub fn entity_name(mut self, name: impl Into<String>) -> Self {
        self.settings.entity = Some(name.into());
        self
    }

    pub(crate) fn into_settings(self) -> Settings {
        self.settings
    }
}

impl<M> fmt::Debug for PublishTopology<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Settings of a [`PublishTopology`], without the type.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    /// `None`: the transport names it.
    entity: Option<String>,
    kind: ExchangeKind,
    alternate: Option<String>,
    key: Option<Arc<KeyOf>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishTopology")
            .field("entity", &self.entity)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Exchanges of all types of a bus.
#[derive(Clone)]
pub(crate) struct PublishTopologies {
    set: HashMap<MessageType, Settings>,
    entity_name: Arc<EntityName>,
}

impl PublishTopologies {
    /// Creates a value without settings, whose exchanges a transport names.
    pub(crate) fn new(
        entity_name: impl Fn(&MessageType) -> String + Send + Sync + 'static,
    ) -> Self {
        Self {
            set: HashMap::new(),
            entity_name: Arc::new(entity_name),
        }
    }

    pub(crate) fn set(&mut self, message_type: MessageType, settings: Settings) {
        self.set.insert(message_type, settings);
    }

    /// Returns the exchange of a type.
    pub(crate) fn exchange_of(&self, message_type: &MessageType) -> Exchange {
        let Settings {
            entity,
            kind,
            alternate,
            ..
        } = self.set.get(message_type).cloned().unwrap_or_default();
        let name = entity.unwrap_or_else(|| (self.entity_name)(message_type));
        Exchange {
            alternate,
            ..Exchange::new(name, kind)
        }
    }

    /// Returns the function that makes the routing key of a message of the type.
    pub(crate) fn key_of(&self, message_type: &MessageType) -> Option<Arc<KeyOf>> {
        self.set.get(message_type)?.key.clone()
    }

    /// Returns the exchanges of the types that have settings of their own.
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = Exchange> {
        self.set
            .keys()
            .map(|message_type| self.exchange_of(message_type))
    }

    /// Returns the entities that a publisher of the type declares.
    ///
    /// These are its exchange, those of its base contracts, and the bindings between them, which
    /// only publishers make.
    pub(crate) fn publisher(&self, message_type: &MessageType, bases: &[MessageType]) -> Topology {
        let exchange = self.exchange_of(message_type);
        let all_keys = all_keys(exchange.kind);
        let mut topology = declared(&exchange);
        for base in bases {
            let base = self.exchange_of(base);
            let to_base = Binding::new(&exchange.name, Node::Exchange(base.name.clone()));
            topology.merge(declared(&base));
            topology.bindings.push(to_base.routing_key(all_keys));
        }
        topology
    }
}

impl fmt::Debug for PublishTopologies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.set.fmt(f)
    }
}

/// Returns the entities that publishers and consumers of a type both declare.
pub(crate) fn declared(exchange: &Exchange) -> Topology {
    let alternate = exchange.alternate.iter().map(Exchange::fanout);
    Topology {
        exchanges: alternate.chain([exchange.clone()]).collect(),
        ..Topology::default()
    }
}

/// Returns the routing key of a binding without conditions.
pub(crate) fn all_keys(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Topic => "#",
        ExchangeKind::Fanout | ExchangeKind::Direct | ExchangeKind::Headers => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(names: [&'static str; 2]) -> [MessageType; 2] {
        names.map(MessageType::new)
    }

    #[test]
    fn the_transport_names_what_no_setting_names() {
        let [derived, base] = types(["Acme:Shipped", "Acme:Event"]);
        let mut topologies =
            PublishTopologies::new(|message_type| message_type.qualified().replace(':', "_"));
        let named = |topologies: &PublishTopologies| {
            let topology = topologies.publisher(&derived, std::slice::from_ref(&base));
            let names = topology.exchanges.into_iter().map(|exchange| exchange.name);
            (names.collect::<Vec<_>>(), topology.bindings)
        };
        let binding = |to: &str| Binding::new("Acme_Shipped", Node::Exchange(to.to_owned()));
        assert_eq!(
            named(&topologies),
            (
                vec!["Acme_Shipped".to_owned(), "Acme_Event".to_owned()],
                vec![binding("Acme_Event")]
            )
        );
        let renamed = Settings {
            entity: Some("events".to_owned()),
            ..Settings::default()
        };
        topologies.set(base.clone(), renamed);
        assert_eq!(named(&topologies).1, [binding("events")], "also as a base");
    }
}
