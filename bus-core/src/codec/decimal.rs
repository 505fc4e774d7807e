//! Decimal numbers, read without losing a digit.
//!
//! serde has no event for the text of a number: a reader of JSON makes the nearest `f64` of a
//! fraction. So this module asks for the text, as [`RawValue`](serde_json::value::RawValue) does,
//! and refuses `f64`.

use std::fmt;

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::serde_helpers::Decimal;

/// Name under which `serde_json` hands out the text of a value.
///
/// It comes as a map with this one key. Other formats, and serde's own buffers, know no such name
/// and hand out the value itself.
const TEXT_OF_VALUE: &str = "$serde_json::private::RawValue";

/// Key under which `serde_json` hands out the digits of a number.
///
/// It does so, also through serde's buffers, where a program turns its feature
/// `arbitrary_precision` on.
const DIGITS_OF_NUMBER: &str = "$serde_json::private::Number";

const EXPECTED: &str = "a decimal number, as text or number";

const LOSSY: &str = "the digits of this number are lost: its reader keeps the nearest floating \
    point number, as serde's buffers do (flatten, untagged, tag, serde_json::Value), which may be \
    another amount; send it as text, or read it without a buffer";

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_OF_VALUE, TextOrValue)
    }
}

struct TextOrValue;

impl<'de> Visitor<'de> for TextOrValue {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Decimal, A::Error> {
        let Some(TEXT_OF_VALUE) = map.next_key()? else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        match map.next_value()? {
            Json::AsItStands(json) => read(json),
            Json::Written(json) if has_fraction(&json) => Err(A::Error::custom(LOSSY)),
            Json::Written(json) => read(&json),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Decimal, D::Error> {
        value.deserialize_any(Plain)
    }
}

/// Reads one value from `json`, which has no blanks around it.
fn read<E: Error>(json: &str) -> Result<Decimal, E> {
    let other = |unexpected| Err(E::invalid_type(unexpected, &Plain));
    match json.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(Decimal::of_digits(json)),
        Some(b'"') if json.contains('\\') => {
            let text: String = serde_json::from_str(json).map_err(E::custom)?;
            Plain.visit_str(&text)
        }
        Some(b'"') => Plain.visit_str(json.trim_matches('"')),
        Some(b'n') => other(Unexpected::Unit),
        Some(b'[') => other(Unexpected::Seq),
        Some(b'{') => other(Unexpected::Map),
        _ => other(Unexpected::Bool(json == "true")),
    }
}

fn has_fraction(json: &str) -> bool {
    !json.starts_with('"') && json.contains(['.', 'e', 'E'])
}

/// Visitor of a value whose text is not available.
struct Plain;

impl<'de> Visitor<'de> for Plain {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Decimal, E> {
        text.parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Decimal, E> {
        Ok(Decimal::of_digits(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Decimal, E> {
        Ok(Decimal::of_digits(number.to_string()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Decimal, E> {
        Err(E::custom(LOSSY))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Decimal, A::Error> {
        match map.next_key::<String>()? {
            Some(key) if key == DIGITS_OF_NUMBER => self.visit_str(&map.next_value::<String>()?),
            _ => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

/// Text of a value, from the reader's input or made of what a buffer holds.
enum Json<'de> {
    AsItStands(&'de str),
    Written(String),
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_borrowed_str<E>(self, json: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::AsItStands(json))
    }

    fn visit_str<E>(self, json: &str) -> Result<Json<'de>, E> {
        Ok(Json::Written(json.to_owned()))
    }

    fn visit_string<E>(self, json: String) -> Result<Json<'de>, E> {
        Ok(Json::Written(json))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Serialize;
    use serde::de::value::MapDeserializer;
    use serde_json::json;

    use super::*;
    use crate::codec::decode_message;

    #[derive(Debug, Serialize, Deserialize, bus_core::Message)]
    #[message("Tests.Decimals:Order")]
    struct Order {
        total: Decimal,
        #[serde(default)]
        discount: Option<Decimal>,
        #[serde(default)]
        parts: Vec<Decimal>,
    }

    /// Read into a buffer first.
    #[derive(Debug, Deserialize)]
    struct Wrapped {
        #[serde(flatten)]
        order: Order,
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Choice {
        Order { total: Decimal },
    }

    const NUMBERS: [&str; 20] = [
        "999999999999.99999",
        "12345678901234567.89",
        "0.1234567890123456789",
        "79228162514264337593543950335",
        "-79228162514264337593543950335",
        "14235653456.34456456788999345345",
        "129.90",
        "0",
        "-0",
        "-0.00",
        "7",
        "18446744073709551616",
        "-9223372036854775809",
        "1e3",
        "1E+3",
        "1.50e-7",
        "1e999999999",
        "0.0000000000000000000000000001",
        "100.00",
        "9007199254740993",
    ];

    fn total<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_keeps_its_digits() {
        for number in NUMBERS {
            let json =
                format!("{{\"total\": {number} ,\"discount\":{number},\"parts\":[{number}]}}");
            let order: Order = decode_message(json.as_bytes()).expect(number);
            assert_eq!(order.total.as_str(), number);
            assert_eq!(order.discount.as_ref().map(Decimal::as_str), Some(number));
            assert_eq!(order.parts[0].as_str(), number);
        }
        let blanks: Decimal = serde_json::from_str(" \n129.90\t").expect("a number");
        assert_eq!(blanks.as_str(), "129.90");
        let keys: HashMap<Decimal, u8> = serde_json::from_str(r#"{"1.50":1}"#).expect("a map");
        assert!(keys.keys().all(|key| key.as_str() == "1.50"));
    }

    #[test]
    fn text_is_read_as_before() {
        for (json, digits) in [
            (r#""129.90""#, "129.90"),
            (r#""+1.5""#, "+1.5"),
            (r#""\u0031.5""#, "1.5"),
        ] {
            assert_eq!(total::<Decimal>(json).expect(json).as_str(), digits);
        }
        let none: Option<Decimal> = serde_json::from_str("null").expect("nothing");
        assert_eq!(none, None);
    }

    #[test]
    fn a_buffer_gives_the_digits_or_an_error() {
        for number in NUMBERS {
            let json = format!(r#"{{"total":{number}}}"#);
            let wrapped = total::<Wrapped>(&json).map(|wrapped| wrapped.order.total);
            let chosen = total::<Choice>(&json).map(|Choice::Order { total }| total);
            let value = serde_json::from_str::<serde_json::Value>(&json)
                .map_err(|error| error.to_string())
                .and_then(|value| {
                    serde_json::from_value::<Order>(value).map_err(|error| error.to_string())
                })
                .map(|order| order.total);
            let reader = serde_json::from_reader::<_, Order>(json.as_bytes())
                .map_err(|error| error.to_string())
                .map(|order| order.total);
            for total in [&wrapped, &chosen, &value, &reader].into_iter().flatten() {
                assert_eq!(total.as_str(), number);
            }
            if number.parse::<i64>().is_ok() && number != "-0" {
                assert!(wrapped.is_ok() && chosen.is_ok() && value.is_ok() && reader.is_ok());
            } else if !number.starts_with("1e999") && number != "-0" {
                let error = wrapped.expect_err(number);
                assert!(error.contains("digits of this number are lost"), "{error}");
            }
            let text = format!(r#"{{"total":"{number}"}}"#);
            assert_eq!(
                total::<Wrapped>(&text).expect(number).order.total.as_str(),
                number
            );
        }
    }

    #[test]
    fn a_buffer_that_keeps_the_digits_is_believed() {
        for (key, digits) in [
            (DIGITS_OF_NUMBER, Some("999999999999.99999")),
            ("amount", None),
        ] {
            let map = MapDeserializer::<_, serde_json::Error>::new(
                [(key, "999999999999.99999")].into_iter(),
            );
            let read = Plain.visit_map(map).ok();
            assert_eq!(read.as_ref().map(Decimal::as_str), digits);
        }
    }

    #[test]
    fn what_is_no_decimal_is_named_with_its_place() {
        for (json, reason) in [
            ("null", "invalid type: null"),
            ("true", "invalid type: boolean `true`"),
            ("false", "invalid type: boolean `false`"),
            ("[1]", "invalid type: sequence"),
            (
                r#"{"$serde_json::private::RawValue":"1"}"#,
                "invalid type: map",
            ),
            (r#""12,50""#, r#"invalid value: string "12,50""#),
        ] {
            let json = format!(r#"{{"parts":[1,{json}],"total":1}}"#);
            let error = decode_message::<Order>(json.as_bytes())
                .expect_err(&json)
                .to_string();
            assert!(error.contains("at `parts[1]`"), "{error}");
            assert!(
                error.contains(reason) && error.contains(EXPECTED),
                "{error}"
            );
        }
        let wide = json!({ "total": { TEXT_OF_VALUE: "1" } }).to_string();
        assert!(total::<Wrapped>(&wide).is_err());
    }
}
