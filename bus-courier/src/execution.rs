//! One execution or compensation of an activity.

use std::time::{Duration, Instant};

use bus_core::serde_helpers::{DateTime, TimeSpan};
use uuid::Uuid;

/// One execution or compensation of an activity.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) timestamp: DateTime,
    began: Instant,
}

impl Execution {
    pub(crate) fn begin(name: &str) -> Self {
        Self {
            id: Uuid::now_v7(),
            name: name.to_owned(),
            timestamp: DateTime::now(),
            began: Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> TimeSpan {
        span(self.began.elapsed())
    }
}

/// Returns a duration as .NET has it.
pub(crate) fn span(duration: Duration) -> TimeSpan {
    TimeSpan::try_from(duration).unwrap_or_default()
}
