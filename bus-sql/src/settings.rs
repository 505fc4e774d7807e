//! Settings of a service's tables.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bus_core::consume::AnyMessage;

/// Default time for which handled messages are remembered.
const REMEMBER: Duration = Duration::from_hours(7 * 24);

/// Function from a message to its business key.
pub(crate) type KeyOf = dyn Fn(&AnyMessage) -> Option<String> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Settings {
    /// Time for which handled messages are remembered.
    pub(crate) remember: Duration,
    /// Number of partitions, if it is said.
    pub(crate) partitions: Option<NonZeroU16>,
    /// `false` if the tables are made by other means.
    pub(crate) migrates: bool,
    /// Business keys of the inbox, by the type of the message.
    pub(crate) keys: HashMap<TypeId, Arc<KeyOf>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            remember: REMEMBER,
            partitions: None,
            migrates: true,
            keys: HashMap::new(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("remember", &self.remember)
            .field("partitions", &self.partitions)
            .field("migrates", &self.migrates)
            .finish_non_exhaustive()
    }
}
