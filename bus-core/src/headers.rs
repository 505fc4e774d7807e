//! Headers: the metadata that users and the framework attach to a message.

mod json;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// How many headers of one message are read; one with more is refused.
pub(crate) const MAX_HEADERS: usize = 1000;

/// One header value: any JSON value, and the two kinds that only AMQP has.
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
    /// The text, if the value is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, also when it came as text, as some producers write it.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Unsigned(number) => i64::try_from(*number).ok(),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The truth value, also as the texts `True` and `False`, which .NET writes to AMQP headers.
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
    /// Whole seconds; fractions are cut off, as AMQP does.
    fn from(time: SystemTime) -> Self {
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        Self::Timestamp(
            time.duration_since(UNIX_EPOCH)
                .map_or_else(|before| -seconds(before.duration()), seconds),
        )
    }
}

/// Headers by name. Names keep their case; look-ups ignore ASCII case, as MassTransit's do.
///
/// ```
/// use bus_core::Headers;
///
/// let mut headers = Headers::new();
/// headers.insert("Tenant", "north");
/// assert_eq!(headers.text("tenant"), Some("north"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(BTreeMap<String, HeaderValue>);

impl Headers {
    /// No headers. Allocates nothing.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets a header; one with the same name in any case is replaced.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<HeaderValue>) {
        let name = name.into();
        if !self.0.contains_key(&name) {
            self.remove(&name);
        }
        self.0.insert(name, value.into());
    }

    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.0.get(name).or_else(|| {
            self.0
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
    }

    /// The value of a header that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(HeaderValue::as_str)
    }

    /// Takes a header out.
    pub fn remove(&mut self, name: &str) -> Option<HeaderValue> {
        self.0.remove(name).or_else(|| {
            let key = self
                .0
                .keys()
                .find(|key| key.eq_ignore_ascii_case(name))?
                .clone();
            self.0.remove(&key)
        })
    }

    /// Whether a header is there.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All headers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the headers for which `keep` says yes.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &HeaderValue) -> bool) {
        self.0.retain(|name, value| keep(name, value));
    }
}

impl<N: Into<String>, V: Into<HeaderValue>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        headers.extend(pairs);
        headers
    }
}

impl<N: Into<String>, V: Into<HeaderValue>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.insert(name, value);
        }
    }
}

impl IntoIterator for Headers {
    type Item = (String, HeaderValue);
    type IntoIter = std::collections::btree_map::IntoIter<String, HeaderValue>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
