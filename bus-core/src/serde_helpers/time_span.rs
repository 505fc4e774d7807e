//! Spans of time in .NET's spelling.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{self, FromText};

const SECOND: u64 = 10_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A span of time, also a negative one: .NET's `TimeSpan`.
///
/// Written as `[-][d.]hh:mm:ss[.fffffff]`, in steps of 100 nanoseconds. Its limits are those of
/// .NET: about 29,000 years in either direction.
///
/// ```
/// use std::time::Duration;
/// use bus_core::serde_helpers::TimeSpan;
///
/// let span: TimeSpan = "1.02:03:04.5000000".parse()?;
/// assert_eq!(Duration::try_from(span)?, Duration::from_millis(93_784_500));
/// assert_eq!(TimeSpan::try_from(Duration::from_secs(90))?.to_string(), "00:01:30");
/// # Ok::<(), bus_core::serde_helpers::InvalidTimeSpan>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan {
    ticks: i64,
}

impl TimeSpan {
    /// Creates a span from ticks of 100 nanoseconds.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self { ticks }
    }

    /// Returns the ticks of 100 nanoseconds.
    pub const fn ticks(self) -> i64 {
        self.ticks
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticks = self.ticks.unsigned_abs();
        if self.ticks < 0 {
            f.write_str("-")?;
        }
        if ticks >= DAY {
            write!(f, "{}.", ticks / DAY)?;
        }
        let (hours, minutes) = (ticks % DAY / HOUR, ticks % HOUR / MINUTE);
        write!(f, "{hours:02}:{minutes:02}:{:02}", ticks % MINUTE / SECOND)?;
        match ticks % SECOND {
            0 => Ok(()),
            fraction => write!(f, ".{fraction:07}"),
        }
    }
}

impl FromStr for TimeSpan {
    type Err = InvalidTimeSpan;

    fn from_str(text: &str) -> Result<Self, InvalidTimeSpan> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let signed = |ticks: u64| {
            if negative {
                -i128::from(ticks)
            } else {
                ticks.into()
            }
        };
        read(rest)
            .and_then(|ticks| i64::try_from(signed(ticks)).ok())
            .map(Self::from_ticks)
            .ok_or_else(|| InvalidTimeSpan(text.chars().take(100).collect()))
    }
}

/// Reads `[d.]hh:mm:ss[.fffffff]` as ticks.
fn read(text: &str) -> Option<u64> {
    let (hours, rest) = text.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if fraction.len() > 7 {
        return None;
    }
    let days = number(days)?.checked_mul(DAY)?;
    let clock =
        below(hours, 24)? * HOUR + below(minutes, 60)? * MINUTE + below(seconds, 60)? * SECOND;
    days.checked_add(clock)?
        .checked_add(number(&format!("{fraction:0<7}"))?)
}

fn below(text: &str, limit: u64) -> Option<u64> {
    number(text).filter(|number| *number < limit)
}

fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

impl TryFrom<Duration> for TimeSpan {
    type Error = InvalidTimeSpan;

    /// Cuts off what is below 100 nanoseconds; fails above 29,000 years.
    fn try_from(duration: Duration) -> Result<Self, InvalidTimeSpan> {
        i64::try_from(duration.as_nanos() / 100)
            .map(Self::from_ticks)
            .map_err(|_| InvalidTimeSpan(format!("{duration:?}")))
    }
}

impl TryFrom<TimeSpan> for Duration {
    type Error = InvalidTimeSpan;

    /// Fails for a negative span.
    fn try_from(span: TimeSpan) -> Result<Self, InvalidTimeSpan> {
        let ticks = u64::try_from(span.ticks).map_err(|_| InvalidTimeSpan(span.to_string()))?;
        let nanos = u32::try_from(ticks % SECOND * 100).unwrap_or_default();
        Ok(Duration::new(ticks / SECOND, nanos))
    }
}

impl FromText for TimeSpan {
    const EXPECTED: &'static str = "a span of time such as 1.02:03:04.5";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

/// Error for a span of time that cannot be read, or not represented in the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a span of time here; .NET writes [-][d.]hh:mm:ss[.fffffff], a Duration is not negative"
)]
pub struct InvalidTimeSpan(String);
