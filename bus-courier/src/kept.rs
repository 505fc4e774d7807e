//! Values that are read, and go on as they came.

use std::fmt;
use std::ops::Deref;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A value that is read as a `T` and goes on as the text that came.
///
/// `T` need not know all of its members, such as the `data` of a .NET exception.
///
/// ```
/// use bus_core::error::ExceptionInfo;
/// use bus_courier::Kept;
///
/// let json = r#"{"message":"Too expensive","data":{"limit":1000}}"#;
/// let kept: Kept<ExceptionInfo> = serde_json::from_str(json)?;
/// assert_eq!(kept.message, "Too expensive");
/// assert_eq!(serde_json::to_string(&kept)?, json);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Kept<T> {
    value: T,
    /// The text; `None` if the value was made here.
    came: Option<Box<RawValue>>,
}

impl<T> From<T> for Kept<T> {
    fn from(value: T) -> Self {
        Self { value, came: None }
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Compares what is known of the values.
impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Serialize> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.came {
            Some(text) => text.serialize(serializer),
            None => self.value.serialize(serializer),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let came = Box::<RawValue>::deserialize(deserializer)?;
        let value = serde_json::from_str(came.get()).map_err(D::Error::custom)?;
        let came = Some(came);
        Ok(Self { value, came })
    }
}
