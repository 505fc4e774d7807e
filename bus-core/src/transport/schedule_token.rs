//! Tokens with which scheduled messages are cancelled.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Name of a message that waits to be delivered, with which it is cancelled.
///
/// Its text is that of the id, and so is its JSON.
///
/// ```
/// use bus_core::transport::ScheduleToken;
///
/// let token: ScheduleToken = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse()?;
/// assert_eq!(token.to_string(), "67e55044-10b1-426f-9247-bb680e5fe0c8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleToken(Uuid);

impl ScheduleToken {
    /// Creates a fresh token.
    #[expect(clippy::new_without_default, reason = "two of them are never equal")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the id, as a store keeps it.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for ScheduleToken {
    /// Makes a token of an id that the application has, such as an order's.
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<ScheduleToken> for Uuid {
    fn from(token: ScheduleToken) -> Self {
        token.0
    }
}

impl fmt::Display for ScheduleToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ScheduleToken {
    type Err = InvalidScheduleToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Uuid::try_parse(text).map_err(|_| InvalidScheduleToken)?;
        Ok(Self(id))
    }
}

/// Error for a text that is no [`ScheduleToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a schedule token is a UUID")]
pub struct InvalidScheduleToken;
