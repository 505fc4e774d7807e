//! Headers as JSON; any JSON value is read and written.

use std::collections::BTreeMap;
use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{HeaderName, HeaderValue, Headers, MAX_HEADERS};
use crate::message::iso8601;

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Serialize for HeaderValue {
    /// Writes the value as JSON.
    ///
    /// A timestamp becomes ISO 8601 text, bytes become base64 text, a number that JSON cannot
    /// represent becomes `null`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(values) => serializer.collect_map(values),
            Self::Timestamp(seconds) => match iso8601::from_seconds(*seconds) {
                Some(time) => serializer.serialize_str(iso8601::format(time).as_str()),
                None => serializer.serialize_i64(*seconds),
            },
            Self::Bytes(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
        }
    }
}

impl<'de> Deserialize<'de> for Headers {
    /// Reads headers; more than 1000 are an error.
    ///
    /// Names that differ in case only are one header; the last one is taken.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Headers::new();
        while let Some((name, value)) = map.next_entry::<HeaderName, HeaderValue>()? {
            headers.insert(name, value);
            if headers.len() > MAX_HEADERS {
                let limit = format_args!("more than {MAX_HEADERS} headers");
                return Err(A::Error::custom(limit));
            }
        }
        Ok(headers)
    }
}

impl<'de> Deserialize<'de> for HeaderValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = HeaderValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<HeaderValue, E> {
        Ok(HeaderValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<HeaderValue, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<HeaderValue, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<HeaderValue, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<HeaderValue, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<HeaderValue, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<HeaderValue, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HeaderValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(HeaderValue::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderValue, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            values.insert(name, value);
        }
        Ok(HeaderValue::Map(values))
    }
}
