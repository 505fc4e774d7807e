//! Routing from an exchange and a key to queues.

use std::collections::HashSet;
use std::sync::Arc;

use bus_core::Headers;
use bus_core::topology::{ExchangeKind, Node};

use super::exchange::Exchange;
use super::message::Name;
use super::routes::Route;
use super::state::State;

impl State {
    /// Queues that a message reaches; none if the exchange does not exist.
    pub(crate) fn route(&mut self, exchange: &str, key: &str, headers: &Headers) -> Route {
        if exchange.is_empty() {
            let queue = self.queues.get_key_value(key);
            return queue
                .map(|(name, _)| Arc::clone(name))
                .into_iter()
                .collect();
        }
        if let Some(route) = self.routes.get(exchange, key) {
            return Arc::clone(route);
        }
        let Some((name, _)) = self.exchanges.get_key_value(exchange) else {
            return Route::default();
        };
        let mut walk = Walk::new(self, key, headers);
        walk.visit(name);
        let (route, by_headers) = (walk.queues.into(), walk.by_headers);
        if !by_headers {
            let name = Arc::clone(name);
            self.routes.put(&name, key, &route);
        }
        route
    }
}

/// One walk over the bindings.
///
/// Each exchange is visited once, so that circles end and diamonds deliver once.
struct Walk<'a> {
    state: &'a State,
    key: &'a str,
    headers: &'a Headers,
    seen: HashSet<&'a str>,
    queues: Vec<Name>,
    /// `true` if the headers of the message mattered.
    by_headers: bool,
}

impl<'a> Walk<'a> {
    fn new(state: &'a State, key: &'a str, headers: &'a Headers) -> Self {
        Self {
            state,
            key,
            headers,
            seen: HashSet::new(),
            queues: Vec::new(),
            by_headers: false,
        }
    }

    fn visit(&mut self, first: &'a str) {
        let mut waiting = vec![first];
        while let Some(name) = waiting.pop() {
            // What is bound or an alternate need not be there.
            if let Some(exchange) = self.state.exchanges.get(name)
                && self.seen.insert(name)
            {
                self.follow(exchange, &mut waiting);
            }
        }
    }

    fn follow(&mut self, exchange: &'a Exchange, waiting: &mut Vec<&'a str>) {
        self.by_headers |= exchange.settings.kind == ExchangeKind::Headers;
        let mut destinations = exchange.destinations(self.key, self.headers).peekable();
        if destinations.peek().is_none() {
            waiting.extend(exchange.settings.alternate.as_deref());
        }
        for destination in destinations {
            match destination {
                Node::Exchange(name) => waiting.push(name),
                Node::Queue(name) => {
                    if let Some((name, _)) = self.state.queues.get_key_value(name.as_str())
                        && !self.queues.contains(name)
                    {
                        self.queues.push(Arc::clone(name));
                    }
                }
            }
        }
    }
}
