//! Health of background services, as known now.

use std::time::SystemTime;

use serde::Serialize;

use crate::serde_helpers::serialize_instant;

/// Health of one background service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BackgroundHealth {
    /// Name of the service.
    pub name: String,
    /// State of the service.
    pub state: BackgroundState,
    /// Instant from which the service is in this state, as far as this process knows.
    #[serde(serialize_with = "serialize_instant")]
    pub since: SystemTime,
    /// Reason for the state; `None` if the service is running or done.
    pub reason: Option<String>,
}

/// State of a background service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BackgroundState {
    /// Does its work.
    Running,
    /// Does its work, but with the trouble that the reason names.
    ///
    /// So it is for the first 30 s after a failure, too.
    Degraded,
    /// Does not do its work.
    ///
    /// It has failed and waits to be run again, or reports itself down.
    Down,
    /// Returned before the stop: its work is done, and it is not run again.
    Done,
    /// Stopped for good, with its bus.
    Stopped,
}

impl BackgroundHealth {
    /// Returns `true` if the service is running, or has done its work.
    pub fn is_healthy(&self) -> bool {
        matches!(self.state, BackgroundState::Running | BackgroundState::Done)
    }

    /// Returns `true` if the service does its work, even if degraded.
    pub fn is_running(&self) -> bool {
        matches!(
            self.state,
            BackgroundState::Running | BackgroundState::Degraded
        )
    }
}
