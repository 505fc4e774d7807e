//! Users of the connections of a pool.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Deliveries and relays that use the pool of a handle.
#[derive(Debug, Default)]
pub(crate) struct Demand(Mutex<Users>);

#[derive(Debug, Default)]
pub(crate) struct Users {
    /// Deliveries at once, by endpoint.
    pub(crate) deliveries: BTreeMap<String, usize>,
    /// Partitions that have a relay here.
    pub(crate) relays: usize,
}

impl Demand {
    /// Notes a change; returns all deliveries at once, and all relays.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Users)) -> (usize, usize) {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut users);
        (users.deliveries.values().sum(), users.relays)
    }
}
