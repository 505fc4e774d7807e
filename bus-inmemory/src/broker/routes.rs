//! Routes that were found, kept until the topology changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::message::Name;

/// Number of keys that are remembered for one exchange.
///
/// Keys may be made of data, and without end.
const REMEMBERED_KEYS: usize = 1024;

/// Queues that get a message, each once.
pub(crate) type Route = Arc<[Name]>;

/// Routes that were found, until anything about the topology changes.
#[derive(Debug, Default)]
pub(crate) struct Routes(HashMap<Name, HashMap<String, Route>>);

impl Routes {
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    pub(super) fn get(&self, exchange: &str, key: &str) -> Option<&Route> {
        self.0.get(exchange)?.get(key)
    }

    pub(super) fn put(&mut self, exchange: &Name, key: &str, route: &Route) {
        let keys = self.0.entry(Arc::clone(exchange)).or_default();
        if keys.len() >= REMEMBERED_KEYS {
            keys.clear();
        }
        keys.insert(key.to_owned(), Arc::clone(route));
    }
}
