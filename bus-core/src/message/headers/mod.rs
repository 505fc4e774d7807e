//! Headers: the metadata that users and the framework attach to a message.

mod json;
pub(crate) mod typed;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Maximum number of headers of one message; one with more is refused.
pub(crate) const MAX_HEADERS: usize = 1000;

/// One header value: any JSON value, and the two kinds that only AMQP has.
///
/// ```
/// use bus_core::Headers;
/// use bus_core::message::HeaderValue;
///
/// let headers: Headers = [("Tries", "3"), ("Urgent", "True")].into_iter().collect();
/// assert_eq!(headers.get("tries").and_then(HeaderValue::as_i64), Some(3));
/// assert_eq!(headers.get("urgent").and_then(HeaderValue::as_bool), Some(true));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderValue {
    /// JSON `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An integer above `i64::MAX`.
    Unsigned(u64),
    /// A floating point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<HeaderValue>),
    /// Named values.
    Map(BTreeMap<String, HeaderValue>),
    /// Whole seconds since 1970 (AMQP's timestamp); ISO 8601 text in JSON.
    Timestamp(i64),
    /// Bytes that are not UTF-8; base64 text in JSON.
    Bytes(Vec<u8>),
}

impl HeaderValue {
    /// Returns the text, if the value is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number, also one that came as text.
    ///
    /// Some producers write numbers as text. `None` for other kinds, and for a number outside
    /// `i64`.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Unsigned(number) => i64::try_from(*number).ok(),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Returns the truth value, also of the texts `True` and `False`.
    ///
    /// .NET writes these texts to AMQP headers; their case is ignored. `None` for anything else.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($source:ty => $value:ident => $result:expr;)*) => {
        $(impl From<$source> for HeaderValue {
            fn from($value: $source) -> Self {
                $result
            }
        })*
    };
}

from! {
    &str => v => Self::Text(v.to_owned());
    String => v => Self::Text(v);
    bool => v => Self::Bool(v);
    i32 => v => Self::Int(v.into());
    u32 => v => Self::Int(v.into());
    i64 => v => Self::Int(v);
    u64 => v => i64::try_from(v).map_or(Self::Unsigned(v), Self::Int);
    f64 => v => Self::Float(v);
    Uuid => v => Self::Text(v.to_string());
    Vec<HeaderValue> => v => Self::List(v);
    BTreeMap<String, HeaderValue> => v => Self::Map(v);
}

impl From<SystemTime> for HeaderValue {
    /// Keeps whole seconds; fractions are cut off, as AMQP does.
    fn from(time: SystemTime) -> Self {
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        Self::Timestamp(
            time.duration_since(UNIX_EPOCH)
                .map_or_else(|before| -seconds(before.duration()), seconds),
        )
    }
}

/// Name of a header.
pub type HeaderName = Cow<'static, str>;

/// Headers by name.
///
/// Names keep their case; look-ups ignore ASCII case, as MassTransit's do. A clone shares the
/// content of its original until one of the two is changed.
///
/// ```
/// use bus_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.insert("Tenant", "north");
/// assert_eq!(headers.text("tenant"), Some("north"));
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    /// Entries, ordered by name without regard to case.
    ///
    /// Absent rather than empty as long as nothing was inserted.
    entries: Option<Arc<Vec<Entry>>>,
}

type Entry = (HeaderName, HeaderValue);

impl Headers {
    /// Creates an empty set of headers; allocates nothing.
    pub const fn new() -> Self {
        Self { entries: None }
    }

    fn entries(&self) -> &[Entry] {
        self.entries.as_deref().map_or(&[], Vec::as_slice)
    }

    fn entries_mut(&mut self) -> &mut Vec<Entry> {
        Arc::make_mut(self.entries.get_or_insert_default())
    }

    /// Finds the index of a header, or as an error the index where it belongs.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.entries()
            .binary_search_by(|(key, _)| cmp_ignoring_case(key, name))
    }

    /// Sets a header; one with the same name in any case is replaced.
    pub fn insert(&mut self, name: impl Into<HeaderName>, value: impl Into<HeaderValue>) {
        let entry = (name.into(), value.into());
        match self.find(&entry.0) {
            Ok(place) => self.entries_mut()[place] = entry,
            Err(place) => self.entries_mut().insert(place, entry),
        }
    }

    /// Returns the value of a header; the case of its name is ignored.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        let place = self.find(name).ok()?;
        Some(&self.entries()[place].1)
    }

    /// Returns the value of a header that is text.
    ///
    /// `None` also for a header with a value of another kind.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(HeaderValue::as_str)
    }

    /// Removes a header and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<HeaderValue> {
        let place = self.find(name).ok()?;
        Some(self.entries_mut().remove(place).1)
    }

    /// Returns `true` if the header is there; the case of its name is ignored.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    /// Returns all headers, ordered by name without regard to case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.entries()
            .iter()
            .map(|(name, value)| (name.as_ref(), value))
    }

    /// Returns the number of headers.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Returns `true` if there are no headers.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Keeps the headers for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &HeaderValue) -> bool) {
        if !self.is_empty() {
            self.entries_mut().retain(|(name, value)| keep(name, value));
        }
    }
}

fn cmp_ignoring_case(one: &str, other: &str) -> Ordering {
    let one = one.bytes().map(|byte| byte.to_ascii_lowercase());
    one.cmp(other.bytes().map(|byte| byte.to_ascii_lowercase()))
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: Into<HeaderName>, V: Into<HeaderValue>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let mut entries: Vec<Entry> = pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        // Sorted once: inserting thousands from an untrusted sender one by one takes the square of
        // the time.
        entries.sort_by(|(one, _), (other, _)| cmp_ignoring_case(one, other));
        entries.dedup_by(|later, earlier| {
            let is_same = later.0.eq_ignore_ascii_case(&earlier.0);
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        Self {
            entries: (!entries.is_empty()).then(|| Arc::new(entries)),
        }
    }
}

impl<N: Into<HeaderName>, V: Into<HeaderValue>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.insert(name, value);
        }
    }
}

impl IntoIterator for Headers {
    type Item = (HeaderName, HeaderValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries
            .map(Arc::unwrap_or_clone)
            .unwrap_or_default()
            .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_and_differ_by_more_than_case() {
        let mut headers: Headers = [("b", 1), ("a", 2), ("B", 3), ("c", 4)]
            .into_iter()
            .collect();
        let names: Vec<_> = headers.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["a", "B", "c"]);
        assert_eq!(headers.get("b"), Some(&3.into()));
        assert_eq!(headers.remove("A"), Some(2.into()));
        assert_eq!(headers.remove("A"), None);
        headers.retain(|name, _| name == "c");
        assert_eq!(headers, [("c", 4)].into_iter().collect());
    }

    #[test]
    fn a_changed_clone_leaves_the_other_as_it_was() {
        let first: Headers = [("a", 1)].into_iter().collect();
        let mut second = first.clone();
        second.insert("a", 2);
        assert_eq!(first.get("a"), Some(&1.into()));
        assert_eq!(second.get("a"), Some(&2.into()));
        second.remove("a");
        assert!(second.is_empty());
        assert_eq!(second, Headers::new(), "no headers are no headers");
    }
}
