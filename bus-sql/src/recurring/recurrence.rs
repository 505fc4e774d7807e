//! Times at which a message is sent again and again.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::store::{micros, time};

/// Times at which a message is sent: a cron line in a time zone.
///
/// The line has five fields: minute, hour, day of the month, month, day of the week (0 and 7 are
/// Sunday). A sixth one in front has seconds, a seventh at the end has years; `L`, `W` and `#` are
/// known, as are names of months and days. If both days are restricted, one of them suffices.
///
/// A time of day that the change to summer time skips is made up for right after the change, and
/// one that comes twice in autumn fires once; a line with `*` in its minutes or hours follows the
/// time that really passes.
///
/// ```
/// use bus_sql::{Missed, Recurrence};
///
/// let nightly = Recurrence::cron("30 2 * * *")?.in_zone("Europe/Zurich")?;
/// let workdays = Recurrence::cron("0 8 * * MON-FRI")?.missed(Missed::Skip);
/// assert_eq!(nightly.to_string(), "30 2 * * * (Europe/Zurich)");
/// assert!(Recurrence::cron("0 0 30 2 *").is_err(), "there is no 30 February");
/// # let _ = workdays;
/// # Ok::<(), bus_sql::InvalidRecurrence>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recurrence {
    line: String,
    cron: Cron,
    zone: TimeZone,
    zone_name: String,
    missed: Missed,
}

/// Treatment of times at which no relay was there to send.
///
/// A time is missed once it is a minute past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// One message for all of them.
    #[default]
    Once,
    /// No message.
    Skip,
    /// A message for each of them, in order.
    All,
}

impl Missed {
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Once => 0,
            Self::Skip => 1,
            Self::All => 2,
        }
    }

    pub(crate) fn of_code(code: i16) -> Option<Self> {
        let all = [Self::Once, Self::Skip, Self::All];
        all.into_iter().find(|missed| missed.code() == code)
    }
}

impl Recurrence {
    /// Reads a cron line, in UTC.
    ///
    /// # Errors
    /// [`InvalidRecurrence`] for a line that cannot be read, and for one that never fires.
    pub fn cron(line: &str) -> Result<Self, InvalidRecurrence> {
        let recurrence = Self::written(line)?;
        if recurrence.next_after(SystemTime::now()).is_none() {
            return Err(invalid(line, &"no time from now on fits it"));
        }
        Ok(recurrence)
    }

    /// Reads a line that fired once, and may fire no more.
    pub(super) fn written(line: &str) -> Result<Self, InvalidRecurrence> {
        let cron = Cron::from_str(line).map_err(|error| invalid(line, &error))?;
        Ok(Self {
            line: line.trim().to_owned(),
            cron,
            zone: TimeZone::UTC,
            zone_name: "UTC".to_owned(),
            missed: Missed::default(),
        })
    }

    /// Sets the time zone, by its name in the tz database. Default: UTC.
    ///
    /// # Errors
    /// [`InvalidRecurrence`] for a name that is not known.
    pub fn in_zone(mut self, name: &str) -> Result<Self, InvalidRecurrence> {
        self.zone = TimeZone::get(name).map_err(|_| {
            InvalidRecurrence(format!(
                "the time zone `{name}` is not known: name one of the tz database, such as Europe/Zurich"
            ))
        })?;
        name.clone_into(&mut self.zone_name);
        Ok(self)
    }

    /// Sets the treatment of times that were missed. Default: one message for all.
    #[must_use]
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Returns the first time after this one; `None` if there is none.
    pub fn next_after(&self, after: SystemTime) -> Option<SystemTime> {
        let after = Timestamp::from_microsecond(micros(after)).ok()?;
        let after = after.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&after, false).ok()?;
        Some(time(next.timestamp().as_microsecond()))
    }

    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    pub(crate) fn zone(&self) -> &str {
        &self.zone_name
    }

    pub(crate) fn when_missed(&self) -> Missed {
        self.missed
    }
}

fn invalid(line: &str, error: &dyn fmt::Display) -> InvalidRecurrence {
    InvalidRecurrence(format!("the cron line `{line}` is not valid: {error}"))
}

impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.line, self.zone_name)
    }
}

/// Error for a cron line or a time zone that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRecurrence(String);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> SystemTime {
        let timestamp: Timestamp = text.parse().expect("a time");
        time(timestamp.as_microsecond())
    }

    fn text(time: SystemTime) -> String {
        let timestamp = Timestamp::from_microsecond(micros(time)).expect("in range");
        timestamp.to_string()
    }

    /// The first times after one, in UTC.
    fn times(recurrence: &Recurrence, after: &str, count: usize) -> Vec<String> {
        let next = |last: &SystemTime| recurrence.next_after(*last);
        std::iter::successors(recurrence.next_after(at(after)), next)
            .take(count)
            .map(text)
            .collect()
    }

    fn zurich(line: &str) -> Recurrence {
        let recurrence = Recurrence::cron(line).expect("a line");
        recurrence.in_zone("Europe/Zurich").expect("a zone")
    }

    #[test]
    fn times_are_those_of_the_zone() {
        assert_eq!(
            times(&zurich("0 8 * * MON-FRI"), "2026-11-27T12:00:00Z", 2),
            ["2026-11-30T07:00:00Z", "2026-12-01T07:00:00Z"]
        );
        let seconds = Recurrence::cron("*/20 * * * * *").expect("a line");
        assert_eq!(
            times(&seconds, "2026-11-27T12:00:50Z", 2),
            ["2026-11-27T12:01:00Z", "2026-11-27T12:01:20Z"]
        );
        let last = Recurrence::cron("0 0 L * *").expect("a line");
        assert_eq!(
            times(&last, "2028-02-01T00:00:00Z", 1),
            ["2028-02-29T00:00:00Z"]
        );
    }

    #[test]
    fn a_time_that_summer_time_skips_is_made_up_for() {
        // 02:30 does not exist on 2027-03-28: the clock goes from 02:00 to 03:00, at 01:00 UTC.
        assert_eq!(
            times(&zurich("30 2 * * *"), "2027-03-27T00:00:00Z", 3),
            [
                "2027-03-27T01:30:00Z",
                "2027-03-28T01:00:00Z",
                "2027-03-29T00:30:00Z"
            ]
        );
    }

    #[test]
    fn a_time_that_comes_twice_fires_once() {
        // 02:30 comes twice on 2026-10-25, at 00:30 and 01:30 UTC.
        assert_eq!(
            times(&zurich("30 2 * * *"), "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn an_interval_follows_the_time_that_passes() {
        let half_hours = times(&zurich("*/30 * * * *"), "2026-10-24T23:59:59Z", 6);
        let first = at("2026-10-25T00:00:00Z");
        let all = (0..6).map(|n| text(first + Duration::from_mins(30 * n)));
        assert_eq!(half_hours, all.collect::<Vec<_>>());
    }

    #[test]
    fn what_never_fires_is_refused() {
        for line in [
            "",
            "0 0 30 2 *",
            "61 * * * *",
            "* * * *",
            "every day",
            "0 0 1 1 * * 2001",
        ] {
            let error = Recurrence::cron(line).expect_err(line);
            assert!(error.to_string().contains(&format!("`{line}`")), "{error}");
        }
        let error = zurich("0 0 * * *")
            .in_zone("Europe/Atlantis")
            .expect_err("no zone");
        assert!(error.to_string().contains("Europe/Atlantis"));
    }

    #[test]
    fn missed_times_survive_the_table() {
        for missed in [Missed::Once, Missed::Skip, Missed::All] {
            assert_eq!(Missed::of_code(missed.code()), Some(missed));
        }
        assert_eq!(Missed::of_code(7), None);
    }
}
