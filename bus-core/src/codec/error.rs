//! Errors of writing and reading messages.

use crate::message::{Contract, MAX_HEADERS, Message};

/// Maximum length of an error text, in characters.
///
/// The parser's own texts repeat what they were given, of any length.
const MAX_TEXT: usize = 400;

/// Kind of mistake in a message that came.
///
/// All of them are permanent: a delivery with one goes to the error queue without a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// No codec reads its content type.
    UnsupportedContentType,
    /// The text is not JSON.
    NotJson,
    /// The JSON is not an envelope.
    NotAnEnvelope,
    /// There is no message, or it is `null`.
    NoMessage,
    /// An id of the envelope is not a GUID.
    InvalidId,
    /// The message does not fit the type that a consumer wants.
    WrongShape,
}

/// Error for a message that cannot be read.
///
/// Reading it again gives the same error. The text is for people, gives the reason, names the
/// member concerned, and is at most a few hundred characters long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct DecodeError {
    kind: DecodeErrorKind,
    text: String,
}

impl DecodeError {
    /// Returns the kind of mistake.
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }

    fn new(kind: DecodeErrorKind, text: &str) -> Self {
        let text = match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        };
        Self { kind, text }
    }

    pub(super) fn unsupported(media_type: &str) -> Self {
        let media_type: String = media_type.chars().take(100).collect();
        Self::new(
            DecodeErrorKind::UnsupportedContentType,
            &format!(
                "content type `{media_type}` cannot be read; known are application/vnd.masstransit+json and application/json"
            ),
        )
    }

    pub(super) fn empty() -> Self {
        Self::new(DecodeErrorKind::NotJson, "the body is empty")
    }

    pub(super) fn too_many_headers() -> Self {
        Self::new(
            DecodeErrorKind::NotAnEnvelope,
            &format!("the message has more than {MAX_HEADERS} headers"),
        )
    }

    pub(super) fn no_message() -> Self {
        Self::new(
            DecodeErrorKind::NoMessage,
            "the envelope has no `message` member; a body without an envelope needs content type application/json",
        )
    }

    pub(super) fn invalid_id(member: &str, text: &str) -> Self {
        let text: String = text.chars().take(100).collect();
        Self::new(
            DecodeErrorKind::InvalidId,
            &format!("`{member}` of the envelope is not a GUID: `{text}`"),
        )
    }

    /// Distinguishes text that is no JSON from JSON that is no envelope.
    pub(super) fn of_envelope(error: &serde_json::Error) -> Self {
        if error.is_data() {
            Self::new(
                DecodeErrorKind::NotAnEnvelope,
                &format!("the body is not a message envelope: {error}"),
            )
        } else {
            Self::new(
                DecodeErrorKind::NotJson,
                &format!("the body is not JSON: {error}"),
            )
        }
    }

    pub(super) fn null_message<M: Message>() -> Self {
        let contract = Contract::of::<M>();
        Self::new(
            DecodeErrorKind::NoMessage,
            &format!(
                "the message is null, not `{}` ({})",
                contract.message_type, contract.rust_name
            ),
        )
    }

    /// Names the member at `path` that does not fit; `.` stands for the message itself.
    pub(super) fn of_message<M: Message>(error: &serde_json::Error, path: &str) -> Self {
        let contract = Contract::of::<M>();
        let place = match path {
            "." => String::new(),
            path => format!(" at `{path}`"),
        };
        let (kind, reason) = if error.is_data() {
            (DecodeErrorKind::WrongShape, "does not fit")
        } else {
            (DecodeErrorKind::NotJson, "is not JSON, wanted as")
        };
        Self::new(
            kind,
            &format!(
                "the message {reason} `{}` ({}){place}: {error}",
                contract.message_type, contract.rust_name
            ),
        )
    }
}

/// Error for a message that its type cannot write as JSON.
///
/// The text names the contract and the Rust type; the source is the error of its `Serialize`.
///
/// ```
/// use std::collections::BTreeMap;
/// use bus_core::Message;
/// use bus_core::codec::encode_message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message("Maps:Distances")]
/// struct Distances(BTreeMap<(u32, u32), u32>);
///
/// let error = encode_message(&Distances([((1, 2), 30)].into())).unwrap_err();
/// assert!(error.to_string().contains("Maps:Distances"), "JSON's keys are text");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("`{message_type}` ({rust_name}) cannot be written as JSON")]
pub struct EncodeError {
    message_type: String,
    rust_name: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl EncodeError {
    pub(super) fn new<M: Message>(source: serde_json::Error) -> Self {
        let contract = Contract::of::<M>();
        Self {
            message_type: contract.message_type.to_string(),
            rust_name: contract.rust_name,
            source: source.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use crate::codec::{DecodeErrorKind, decode_message};
    use crate::message::Message;

    #[derive(Debug, Serialize, Deserialize, bus_core::Message)]
    #[message("Tests.Codec:Order")]
    struct Order {
        lines: Vec<Line>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Line {
        quantity: u32,
    }

    #[test]
    fn the_member_that_does_not_fit_is_named() {
        for (json, place) in [
            (
                r#"{"lines":[{"quantity":1},{"quantity":"2"}]}"#,
                "at `lines[1].quantity`: invalid type",
            ),
            (r#"{"lines":null}"#, "at `lines`: invalid type"),
            ("{}", "Order): missing field `lines`"),
            ("[[", "Order)"),
        ] {
            let error = decode_message::<Order>(json.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(place), "{json}: {error}");
            assert!(
                error.contains(&Order::message_type().to_string()),
                "{error}"
            );
        }
        let error = decode_message::<Order>(br#"{"lines":[{"quantity":"2"}]}"#).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::WrongShape);
    }
}
