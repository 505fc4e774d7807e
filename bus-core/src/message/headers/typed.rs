//! Headers as JSON that keeps the kind of each value, for stored messages.
//!
//! A value is an object whose only member names its kind, such as `{"i64":7}` or
//! `{"bytes":"AQI="}`; the kind `null` is the text `"null"`. For `#[serde(with = "…")]` on headers
//! and on maps of values.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{HeaderValue, Headers};

/// Collection of values by name.
pub(crate) trait Entries: FromIterator<(String, HeaderValue)> {
    fn entries(&self) -> impl Iterator<Item = (&str, &HeaderValue)>;
}

impl Entries for Headers {
    fn entries(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.iter()
    }
}

impl Entries for BTreeMap<String, HeaderValue> {
    fn entries(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.iter().map(|(name, value)| (name.as_str(), value))
    }
}

pub(crate) fn serialize<E: Entries, S: Serializer>(
    entries: &E,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, value) in entries.entries() {
        map.serialize_entry(name, &Written(value))?;
    }
    map.end()
}

pub(crate) fn deserialize<'de, E: Entries, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<E, D::Error> {
    let values = BTreeMap::<String, Read>::deserialize(deserializer)?;
    Ok(named(values).collect())
}

fn named(values: BTreeMap<String, Read>) -> impl Iterator<Item = (String, HeaderValue)> {
    values
        .into_iter()
        .map(|(name, value)| (name, value.into_value()))
}

/// A value as it is written.
struct Written<'a>(&'a HeaderValue);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            HeaderValue::Null => serializer.serialize_str("null"),
            HeaderValue::Bool(value) => one(serializer, "bool", value),
            HeaderValue::Int(value) => one(serializer, "i64", value),
            HeaderValue::Unsigned(value) => one(serializer, "u64", value),
            // JSON has neither infinities nor NaN; the shortest text reads back to the same bits.
            HeaderValue::Float(value) => one(serializer, "f64", &value.to_string()),
            HeaderValue::Text(value) => one(serializer, "text", value),
            HeaderValue::List(values) => {
                let values: Vec<_> = values.iter().map(Written).collect();
                one(serializer, "list", &values)
            }
            HeaderValue::Map(values) => one(serializer, "map", &WrittenMap(values)),
            HeaderValue::Timestamp(seconds) => one(serializer, "timestamp", seconds),
            HeaderValue::Bytes(bytes) => {
                let text = Base64Display::new(bytes, &STANDARD).to_string();
                one(serializer, "bytes", &text)
            }
        }
    }
}

struct WrittenMap<'a>(&'a BTreeMap<String, HeaderValue>);

impl Serialize for WrittenMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self::serialize(self.0, serializer)
    }
}

fn one<S: Serializer, T: Serialize + ?Sized>(
    serializer: S,
    kind: &'static str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(kind, value)?;
    map.end()
}

/// A value as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Read {
    Null,
    Bool(bool),
    I64(i64),
    U64(u64),
    #[serde(deserialize_with = "float")]
    F64(f64),
    Text(String),
    List(Vec<Read>),
    Map(BTreeMap<String, Read>),
    Timestamp(i64),
    #[serde(deserialize_with = "bytes")]
    Bytes(Vec<u8>),
}

impl Read {
    fn into_value(self) -> HeaderValue {
        match self {
            Self::Null => HeaderValue::Null,
            Self::Bool(value) => HeaderValue::Bool(value),
            Self::I64(value) => HeaderValue::Int(value),
            Self::U64(value) => HeaderValue::Unsigned(value),
            Self::F64(value) => HeaderValue::Float(value),
            Self::Text(value) => HeaderValue::Text(value),
            Self::List(values) => {
                HeaderValue::List(values.into_iter().map(Self::into_value).collect())
            }
            Self::Map(values) => HeaderValue::Map(named(values).collect()),
            Self::Timestamp(seconds) => HeaderValue::Timestamp(seconds),
            Self::Bytes(bytes) => HeaderValue::Bytes(bytes),
        }
    }
}

fn float<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(D::Error::custom)
}
