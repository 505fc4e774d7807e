//! Times before which a message is not delivered.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::transport::backoff::from_now;

/// Wait that stands for one beyond the clock: a hundred years.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Time before which a message is not delivered.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use bus_core::send::Due;
///
/// let hour = Duration::from_secs(3600);
/// assert!(Due::after(hour).from_now() > Duration::from_secs(3599));
/// assert_eq!(Due::At(SystemTime::UNIX_EPOCH).from_now(), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A time of the calendar, by the clock of the process that hands the message over.
    At(SystemTime),
    /// An instant of this process, which no change of the system's clock moves.
    In(Instant),
}

impl Due {
    /// Returns the instant that far from now.
    ///
    /// A wait beyond the clock is cut to a hundred years.
    pub fn after(wait: Duration) -> Self {
        let now = Instant::now();
        Self::In(now.checked_add(wait).unwrap_or(now + FAR))
    }

    /// Returns the wait that is left, zero once it is due.
    pub fn from_now(self) -> Duration {
        match self {
            Self::At(time) => time.duration_since(SystemTime::now()).unwrap_or_default(),
            Self::In(instant) => instant.saturating_duration_since(Instant::now()),
        }
    }

    /// Returns the instant for a transport; `None` once it is due.
    pub(crate) fn instant(self) -> Option<Instant> {
        let wait = Some(self.from_now()).filter(|wait| !wait.is_zero())?;
        match self {
            Self::At(_) => Some(from_now(wait).unwrap_or(Instant::now() + FAR)),
            Self::In(instant) => Some(instant),
        }
    }

    /// Returns the time of the calendar, as a store keeps it.
    pub(crate) fn time(self) -> SystemTime {
        match self {
            Self::At(time) => time,
            Self::In(_) => SystemTime::now() + self.from_now(),
        }
    }
}
