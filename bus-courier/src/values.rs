//! Named values of any kind: variables, arguments and logs.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// Named JSON values, in their order: variables, arguments, or a log.
///
/// A name keeps its case and is looked up without regard to it, as MassTransit does. Values are
/// kept as the text that came, so that no digit is lost on the way through a service that does not
/// read them.
///
/// ```
/// use bus_courier::Values;
///
/// let mut values: Values = serde_json::from_str(r#"{"OrderNumber":"A-7","total":129.90}"#)?;
/// values.set("reserved", &2)?;
/// assert_eq!(values.get::<String>("orderNumber")?.as_deref(), Some("A-7"));
/// assert_eq!(serde_json::to_string(&values)?, r#"{"OrderNumber":"A-7","total":129.90,"reserved":2}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Values(Vec<(String, Box<RawValue>)>);

impl Values {
    /// Creates the values that a struct or map is made of.
    ///
    /// `()` and `None` are no values.
    ///
    /// # Errors
    /// If it cannot be written as JSON, or is no object.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Self, serde_json::Error> {
        serde_json::from_str(to_raw_value(value)?.get())
    }

    /// Sets a value; one with the same name, in any case of letters, is replaced.
    ///
    /// A value that is `null` is removed.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn set(
        &mut self,
        name: impl Into<String>,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), serde_json::Error> {
        self.put(name.into(), to_raw_value(value)?);
        Ok(())
    }

    /// Returns a value; `None` if it is absent or `null`.
    ///
    /// # Errors
    /// If the value is no `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, serde_json::Error> {
        match self.raw(name) {
            Some(text) if !is_null(text) => serde_json::from_str(text.get()).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the JSON text of a value.
    pub fn json(&self, name: &str) -> Option<&str> {
        self.raw(name).map(RawValue::get)
    }

    /// Returns the names, as they came.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Returns `true` if there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Sets all values of `others`.
    pub fn extend(&mut self, others: Self) {
        for (name, value) in others.0 {
            self.put(name, value);
        }
    }

    /// Removes a value and returns it; the last one, if it came twice.
    pub(crate) fn take(&mut self, name: &str) -> Option<Box<RawValue>> {
        let place = self.place(name)?;
        let (_, value) = self.0.remove(place);
        self.0
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// Sets a value, or removes it if it is `null`.
    pub(crate) fn put(&mut self, name: String, value: Box<RawValue>) {
        match self.place(&name) {
            Some(place) if is_null(&value) => drop(self.0.remove(place)),
            Some(place) => self.0[place] = (name, value),
            None if is_null(&value) => {}
            None => self.0.push((name, value)),
        }
    }

    pub(crate) fn raw(&self, name: &str) -> Option<&RawValue> {
        self.place(name).map(|place| &*self.0[place].1)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0
            .iter()
            .rposition(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Compares names and texts, in order.
impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        let text = |(name, value): &(String, Box<RawValue>)| (name.clone(), value.get().to_owned());
        self.0.iter().map(text).eq(other.0.iter().map(text))
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.iter().map(|(name, value)| (name, value.get()));
        f.debug_map().entries(texts).finish()
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Values, E> {
        Ok(Values::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(entry) = map.next_entry()? {
            values.push(entry);
        }
        Ok(Values(values))
    }
}
