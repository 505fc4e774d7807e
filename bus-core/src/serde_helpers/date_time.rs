//! Instants in .NET's spelling.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{self, FromText};
use crate::message::iso8601;

/// An instant: .NET's `DateTime` and `DateTimeOffset`, to 100 nanoseconds.
///
/// Read with `Z`, with an offset, or with neither, which counts as UTC: .NET leaves the offset out
/// where a time's kind is not set. Written in UTC, years outside 1 to 9999 clamped; the offset that
/// came is not kept. An unset .NET date is the year 1.
///
/// ```
/// use bus_core::serde_helpers::DateTime;
///
/// let local: DateTime = serde_json::from_str(r#""2026-02-07T16:05:09.5+02:00""#)?;
/// assert_eq!(local.to_string(), "2026-02-07T14:05:09.5Z");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime(pub SystemTime);

impl DateTime {
    /// Returns the present instant.
    pub fn now() -> Self {
        Self(SystemTime::now())
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(iso8601::format(self.0).as_str())
    }
}

impl fmt::Debug for DateTime {
    /// Formats as [`Display`](fmt::Display) does.
    ///
    /// A message is logged with its dates readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromText for DateTime {
    const EXPECTED: &'static str = "a date and time such as 2026-02-07T14:05:09Z";

    fn from_text(text: &str) -> Option<Self> {
        iso8601::parse(text).map(Self)
    }
}

impl Serialize for DateTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(iso8601::format(self.0).as_str())
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl From<SystemTime> for DateTime {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl From<DateTime> for SystemTime {
    fn from(time: DateTime) -> Self {
        time.0
    }
}

/// Writes an instant as a [`DateTime`].
pub(crate) fn serialize_instant<S: Serializer>(
    instant: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    DateTime(*instant).serialize(serializer)
}

/// Serializes an instant that may be absent as text.
// The shape is serde's.
#[allow(clippy::ref_option)]
pub(crate) fn serialize_optional_instant<S: Serializer>(
    instant: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    instant.map(DateTime).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_instant_is_readable_in_debug_texts() {
        let time = DateTime(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400));
        let text = format!("{:?}", Some(time));
        assert!(text.starts_with("Some(1970-01-02T00:00:00"), "{text}");
    }
}
