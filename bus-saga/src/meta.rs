//! Data of an instance beside that of the user.

use std::collections::{BTreeMap, BTreeSet};

use bus_core::send::Requester;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of the JSON that this release writes, and the highest that it reads.
pub(crate) const VERSION: u32 = 1;

/// Data of an instance that the user does not see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) version: u32,
    /// Tokens of what runs, by the name of the timeout or request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) timers: BTreeMap<String, Uuid>,
    /// Requester to whom a later reaction responds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requester: Option<Requester>,
    /// Members of a composite event that have come, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) seen: BTreeMap<String, BTreeSet<String>>,
    /// Composite events that were raised.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) raised: BTreeSet<String>,
    /// Events that wait for another state, in the order in which they came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) postponed: Vec<Postponed>,
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Postponed {
    pub(crate) event: String,
    /// Message as JSON.
    pub(crate) message: String,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            version: VERSION,
            timers: BTreeMap::new(),
            requester: None,
            seen: BTreeMap::new(),
            raised: BTreeSet::new(),
            postponed: Vec::new(),
        }
    }
}
