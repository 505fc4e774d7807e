//! JSON text that is passed on as it came.
//!
//! A fault contains the message that failed. Taken apart and written anew it could lose what Rust
//! has no type for: digits of a number, members that come twice.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A piece of JSON text inside an encoded value, neither taken apart nor changed.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct RawJson<'a>(&'a RawValue);

impl<'a> RawJson<'a> {
    /// Checks the text; `None` if it is not JSON.
    pub(crate) fn new(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().map(Self)
    }
}

/// JSON text inside a message, kept as it came.
///
/// No digit of a number and no order of members is lost on the way.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// Reads a text; `None` if it is not JSON.
    pub fn new(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok().map(Self)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_str().as_bytes())
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonText({} bytes)", self.as_str().len())
    }
}
