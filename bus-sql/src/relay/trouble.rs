//! Troubles of a relay, for its health.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bus_core::transport::Health;

use crate::error::SqlError;

/// The trouble of each partition that has one.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<i16, String>>);

impl Troubles {
    /// Notes the trouble of a partition; returns `true` if it had none.
    pub(crate) fn note(&self, part: i16, trouble: String) -> bool {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.insert(part, trouble).is_none()
    }

    /// Notes an error of the database; returns `true` if there was no trouble.
    pub(crate) fn note_away(&self, part: i16, error: &SqlError) -> bool {
        self.note(part, format!("the outbox cannot be read: {error}"))
    }

    /// Notes that a partition has no trouble; returns `true` if it had one.
    pub(crate) fn clear(&self, part: i16) -> bool {
        let mut troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.remove(&part).is_some()
    }

    pub(crate) fn health(&self) -> Health {
        let troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match troubles.values().next() {
            Some(trouble) => Health::Degraded(trouble.clone()),
            None => Health::Up,
        }
    }
}
