//! Texts from the wire that a column must hold.

use std::borrow::Cow;

use uuid::Uuid;

/// Longest key that is stored as it is, in bytes.
///
/// An index of PostgreSQL holds 2,700.
const LONGEST: usize = 512;

/// A key for an index.
///
/// One that is too long, or that no column holds, ends with its hash.
pub(crate) fn key(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST && !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes());
    let mut end = text.len().min(LONGEST - 64);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let start = text[..end].replace('\0', "");
    Cow::Owned(format!("{start}#{hash}"))
}

/// A text for people; no column of PostgreSQL holds a zero character.
pub(crate) fn text(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_stay_distinct() {
        assert_eq!(key("A-7"), "A-7");
        let long = "größe".repeat(200);
        let (one, other) = (key(&long), format!("{long}!"));
        assert!(one.len() <= LONGEST, "{}", one.len());
        assert_ne!(one, key(&other));
        assert_ne!(key("a\0b"), key("ab"));
        assert!(!key("a\0b").contains('\0'));
    }
}
