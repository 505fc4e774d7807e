//! Pauses of an endpoint, and the wish for them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Wish of those who control an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    Pause(Pause),
    /// To resume by itself, until it has done so.
    Resume,
}

/// A pause, until it is ended or for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    cause: Cause,
    until: Option<(Instant, SystemTime)>,
}

/// Cause of a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It was asked for, by what has a name or not.
    Asked(Option<Arc<str>>),
    /// The kill switch has tripped, for this reason.
    Tripped(Arc<str>),
}

impl Pause {
    /// Creates a pause until it is ended.
    pub(crate) fn endless(by: Option<Arc<str>>) -> Self {
        Self {
            cause: Cause::Asked(by),
            until: None,
        }
    }

    /// Creates a pause for a time; one beyond the calendar has no end.
    pub(crate) fn lasting(cause: Cause, time: Duration) -> Self {
        let until = Instant::now().checked_add(time);
        let until = until.zip(SystemTime::now().checked_add(time));
        Self { cause, until }
    }

    /// Returns the longer of two; the first of equals.
    pub(super) fn longer(self, other: Self) -> Self {
        let is_longer = match (self.until, other.until) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((until, _)), Some((later, _))) => later > until,
        };
        if is_longer { other } else { self }
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        match self.until {
            Some((until, _)) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Instant at which it is over, on the clock of the machine.
    pub(crate) fn until(&self) -> Option<SystemTime> {
        self.until.map(|(_, until)| until)
    }

    pub(crate) fn cause(&self) -> &Cause {
        &self.cause
    }
}
