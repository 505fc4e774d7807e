//! Exchanges, with their bindings.

use std::collections::BTreeMap;

use bus_core::Headers;
use bus_core::message::HeaderValue;
use bus_core::topology::{self, Node};

/// Router of messages.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) settings: topology::Exchange,
    pub(crate) bindings: Vec<Binding>,
}

/// Binding, seen from its source.
#[derive(Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) destination: Node,
    pub(crate) routing_key: String,
    pub(crate) arguments: BTreeMap<String, HeaderValue>,
}

impl Exchange {
    pub(crate) fn new(settings: topology::Exchange) -> Self {
        Self {
            settings,
            bindings: Vec::new(),
        }
    }

    /// Destinations of a message from this exchange.
    pub(crate) fn destinations<'a>(
        &'a self,
        key: &'a str,
        headers: &'a Headers,
    ) -> impl Iterator<Item = &'a Node> {
        let kind = self.settings.kind;
        self.bindings
            .iter()
            .filter(move |bound| kind.matches(&bound.routing_key, &bound.arguments, key, headers))
            .map(|binding| &binding.destination)
    }
}
