//! Arguments of an activity, and logs, as the types that users write.

use serde::Deserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::Error;
use serde_json::value::RawValue;

use crate::values::Values;

/// Reads a `T` from the values that it names.
///
/// Those of `first` come before those of `then`. The members of a struct are found without regard
/// to case. Values that it does not name are left out, as `then` holds the values of others too.
pub(crate) fn merged<T: DeserializeOwned>(first: &Values, then: &Values) -> Result<T, Error> {
    let mut all = then.clone();
    all.extend(first.clone());
    T::deserialize(Named(&all))
}

/// A deserializer that gives a struct its members under the names that it expects.
struct Named<'a>(&'a Values);

impl<'de> Deserializer<'de> for Named<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let all = self.0.iter();
        visitor.visit_map(Entries::new(all.collect()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let known = fields
            .iter()
            .filter_map(|field| Some((*field, self.0.raw(field)?)));
        visitor.visit_map(Entries::new(known.collect()))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

struct Entries<'a> {
    left: std::vec::IntoIter<(&'a str, &'a RawValue)>,
    value: Option<(&'a str, &'a RawValue)>,
}

impl<'a> Entries<'a> {
    fn new(entries: Vec<(&'a str, &'a RawValue)>) -> Self {
        Self {
            left: entries.into_iter(),
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.value = self.left.next();
        let Some((name, _)) = self.value else {
            return Ok(None);
        };
        let name = serde::de::value::StrDeserializer::new(name);
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((name, value)) = self.value.take() else {
            return Err(Error::custom("a value was asked for before its name"));
        };
        let mut json = serde_json::Deserializer::from_str(value.get());
        seed.deserialize(&mut json)
            .map_err(|error| Error::custom(format_args!("{name}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Charge {
        order_number: String,
        amount: u32,
        #[serde(default)]
        note: Option<String>,
    }

    fn values(json: &str) -> Values {
        serde_json::from_str(json).expect("an object")
    }

    #[test]
    fn arguments_come_before_variables_and_case_does_not_matter() {
        let arguments = values(r#"{"Amount":5,"NOTE":"now"}"#);
        let variables = values(r#"{"OrderNumber":"A-7","amount":9,"Reserved":2}"#);
        let charge: Charge = merged(&arguments, &variables).expect("the arguments of a charge");
        let expected = Charge {
            order_number: "A-7".to_owned(),
            amount: 5,
            note: Some("now".to_owned()),
        };
        assert_eq!(charge, expected);
    }

    #[test]
    fn the_error_names_the_argument() {
        let wrong = values(r#"{"orderNumber":"A-7","Amount":"many"}"#);
        let error = merged::<Charge>(&wrong, &Values::default()).expect_err("not a number");
        assert!(error.to_string().starts_with("amount: "), "{error}");
        let missing = merged::<Charge>(&Values::default(), &wrong.clone()).expect_err("wrong too");
        assert!(missing.to_string().contains("amount"), "{missing}");
    }

    #[test]
    fn a_map_gets_all_and_a_unit_nothing() {
        let (arguments, variables) = (values(r#"{"A":1}"#), values(r#"{"a":2,"b":3}"#));
        let all: HashMap<String, u32> = merged(&arguments, &variables).expect("a map");
        assert_eq!(
            all,
            HashMap::from([("A".to_owned(), 1), ("b".to_owned(), 3)])
        );
        assert!(merged::<()>(&arguments, &variables).is_ok());
        let json: Option<serde_json::Value> = merged(&arguments, &variables).expect("any value");
        assert_eq!(json, Some(serde_json::json!({"A": 1, "b": 3})));
    }
}
