//! Values that are read from text.
//!
//! Readers with a buffer, and those without, hand text to the same visitor; a value is never kept
//! longer than it takes to read it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

/// A value with a text form.
pub(super) trait FromText: Sized {
    /// Description of the text that was expected, for the error.
    const EXPECTED: &'static str;

    /// Reads the text; `None` if it does not fit.
    fn from_text(text: &str) -> Option<Self>;
}

/// Reads a value from text; the error quotes what came, and says what was expected.
pub(super) fn deserialize<'de, T: FromText, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    deserializer.deserialize_str(TextVisitor(PhantomData))
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}
