//! Declaration of one contract's exchange, and routing keys of its messages.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::message::{Contract, Message};
use crate::topology::{Binding, Exchange, ExchangeKind, Node, Topology};

type KeyOf = dyn Fn(&(dyn Any + Send + Sync)) -> String + Send + Sync;

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
        let contract = Contract::of::<M>();
        Self {
            settings: Settings {
                kind,
                ..Settings::fanout(contract)
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

    /// Sets another name for the exchange than the contract's own.
    #[must_use]
    pub fn entity_name(mut self, name: impl Into<String>) -> Self {
        self.settings.entity = Cow::Owned(name.into());
        self
    }

    pub(crate) fn into_settings(self) -> (TypeId, Settings) {
        (TypeId::of::<M>(), self.settings)
    }
}

impl<M> fmt::Debug for PublishTopology<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// Settings of a [`PublishTopology`], without the type.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) entity: Cow<'static, str>,
    pub(crate) kind: ExchangeKind,
    pub(crate) alternate: Option<String>,
    pub(crate) key: Option<Arc<KeyOf>>,
}

impl Settings {
    fn fanout(contract: &'static Contract) -> Self {
        Self {
            entity: Cow::Borrowed(&contract.entity),
            kind: ExchangeKind::Fanout,
            alternate: None,
            key: None,
        }
    }

    fn exchange(&self) -> Exchange {
        Exchange {
            alternate: self.alternate.clone(),
            ..Exchange::new(self.entity.clone(), self.kind)
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishTopology")
            .field("entity", &self.entity)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Settings of all contracts of a bus.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublishTopologies {
    by_type: HashMap<TypeId, Settings>,
    by_entity: HashMap<String, ExchangeKind>,
}

impl PublishTopologies {
    pub(crate) fn set(&mut self, type_id: TypeId, contract: &'static Contract, settings: Settings) {
        self.by_entity
            .insert(contract.entity.clone(), settings.kind);
        self.by_type.insert(type_id, settings);
    }

    pub(crate) fn settings_of(&self, type_id: TypeId, contract: &'static Contract) -> Settings {
        self.by_type
            .get(&type_id)
            .cloned()
            .unwrap_or_else(|| Settings::fanout(contract))
    }

    /// Returns the function that makes the routing key of a message of the type.
    pub(crate) fn key_of(&self, type_id: TypeId) -> Option<&KeyOf> {
        self.by_type.get(&type_id)?.key.as_deref()
    }

    /// Returns the exchanges of the contracts that have settings of their own.
    pub(crate) fn exchanges(&self) -> impl Iterator<Item = Exchange> {
        self.by_type.values().map(Settings::exchange)
    }

    /// Returns the entities that a publisher of the type declares.
    ///
    /// These are its exchange, those of its base contracts, and the bindings between them, which
    /// only publishers make.
    pub(crate) fn publisher(&self, type_id: TypeId, contract: &'static Contract) -> Topology {
        let settings = self.settings_of(type_id, contract);
        let mut topology = Self::exchange(&settings);
        let all_keys = if settings.kind == ExchangeKind::Topic {
            "#"
        } else {
            ""
        };
        for base in &contract.base_entities {
            let kind = self.by_entity.get(base).copied().unwrap_or_default();
            topology.exchanges.push(Exchange::new(base.clone(), kind));
            let binding = Binding::new(settings.entity.clone(), Node::Exchange(base.clone()));
            topology.bindings.push(binding.routing_key(all_keys));
        }
        topology
    }

    /// Returns the entities that publishers and consumers of the type both declare.
    pub(crate) fn exchange(settings: &Settings) -> Topology {
        let alternate = settings.alternate.iter().map(Exchange::fanout);
        Topology {
            exchanges: alternate.chain([settings.exchange()]).collect(),
            ..Topology::default()
        }
    }
}
