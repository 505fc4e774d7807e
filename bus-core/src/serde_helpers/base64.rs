//! Bytes as base64 text.

use base64::Engine;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::{self, FromText};

/// Bytes that travel as base64 text: .NET's `byte[]`.
///
/// The standard alphabet with padding, as .NET writes it; nothing else is read.
///
/// ```
/// use bus_core::serde_helpers::Base64;
///
/// let photo: Base64 = serde_json::from_str(r#""AQID/w==""#)?;
/// assert_eq!(photo.as_ref(), [1, 2, 3, 255]);
/// assert_eq!(serde_json::to_string(&photo)?, r#""AQID/w==""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Base64(pub Vec<u8>);

impl FromText for Base64 {
    const EXPECTED: &'static str = "base64 text";

    fn from_text(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().map(Self)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Base64 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
