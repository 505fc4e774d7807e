//! JSON text that is passed on as it came.
//!
//! A fault contains the message that failed. Taken apart and written anew it could lose what Rust
//! has no type for: digits of a number, members that come twice.

use serde::Serialize;
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
