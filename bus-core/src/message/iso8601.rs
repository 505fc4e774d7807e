//! Instants as text, the way .NET writes and reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Limits of a year of four digits, in seconds since 1970.
///
/// The first second of 0001-01-01 and the last one of 9999.
const RANGE: (i64, i64) = (-62_135_596_800, 253_402_300_799);

/// An instant as text, without an allocation.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; 28],
    length: usize,
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).expect("only digits and separators")
    }
}

/// Formats an instant in UTC with `Z`.
///
/// It has up to seven fractional digits, without trailing zeros; years outside 1 to 9999 are
/// clamped.
pub(crate) fn format(time: SystemTime) -> Text {
    let (seconds, nanos) = since_1970(time);
    let date = OffsetDateTime::from_unix_timestamp(seconds.clamp(RANGE.0, RANGE.1))
        .expect("clamped to the years 1 to 9999");
    let mut bytes = *b"0000-00-00T00:00:00.0000000Z";
    write_digits(&mut bytes[0..4], date.year().unsigned_abs());
    write_digits(&mut bytes[5..7], u8::from(date.month()).into());
    write_digits(&mut bytes[8..10], date.day().into());
    write_digits(&mut bytes[11..13], date.hour().into());
    write_digits(&mut bytes[14..16], date.minute().into());
    write_digits(&mut bytes[17..19], date.second().into());
    write_digits(&mut bytes[20..27], nanos / 100);
    let mut end = 27;
    while bytes[end - 1] == b'0' && end > 20 {
        end -= 1;
    }
    if end == 20 {
        end = 19;
    }
    bytes[end] = b'Z';
    Text {
        bytes,
        length: end + 1,
    }
}

/// Reads an instant from ISO 8601 text.
///
/// The text has `Z`, an offset, or neither, which counts as UTC.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    // The longest text that means anything has 33 bytes; foreign headers may hold megabytes.
    if text.len() > 40 {
        return None;
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339))
        .ok()
        .map(SystemTime::from)
}

/// Returns the instant `seconds` away from 1970, if the platform can represent it.
pub(crate) fn from_seconds(seconds: i64) -> Option<SystemTime> {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

/// Returns the whole seconds since 1970, rounded down, and the nanoseconds on top.
fn since_1970(time: SystemTime) -> (i64, u32) {
    let whole = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (whole(after), after.subsec_nanos()),
        Err(error) => match (error.duration(), error.duration().subsec_nanos()) {
            (before, 0) => (-whole(before), 0),
            (before, nanos) => (-whole(before) - 1, 1_000_000_000 - nanos),
        },
    }
}

fn write_digits(slot: &mut [u8], mut number: u32) {
    for digit in slot.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_dotnet_does() {
        for text in [
            "2026-11-23T17:24:16.8580026Z",
            "2026-11-23T17:23:49.335539Z",
            "2026-02-07T14:05:09Z",
            "1969-12-31T23:59:59.5Z",
            "0001-01-01T00:00:00Z",
            "2026-02-10T00:00:00.0000001Z",
        ] {
            assert_eq!(format(parse(text).unwrap()).as_str(), text);
        }
    }

    #[test]
    fn an_offset_is_converted_and_a_missing_one_is_utc() {
        let utc = parse("2026-02-09T06:00:00Z");
        assert_eq!(parse("2026-02-09T08:00:00+02:00"), utc);
        assert_eq!(parse("2026-02-09T06:00:00"), utc);
        assert_eq!(parse("2026-02-09T06:00:00.000"), utc);
    }

    #[test]
    fn what_is_no_instant_is_none() {
        let long = format!("2026-02-09T06:00:00.{}Z", "0".repeat(100));
        for text in [
            "",
            "Z",
            "yesterday",
            "2026-02-30T00:00:00Z",
            "2026-02-09",
            "1770000000",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn far_instants_are_clamped() {
        let far = from_seconds(1 << 40).unwrap();
        assert!(format(far).as_str().starts_with("9999-12-31T23:59:59"));
        let old = from_seconds(-(1 << 40)).unwrap();
        assert!(format(old).as_str().starts_with("0001-01-01T00:00:00"));
    }
}
