//! The cut of headers from a message that can be kept without them only.

use crate::message::{HeaderValue, Headers};

/// Header that says what was cut, and how large it was.
const NOTE: &str = "MT-Fault-HeadersCut";
const STACK_TRACE: &str = "MT-Fault-StackTrace";
const MESSAGE: &str = "MT-Fault-Message";

/// Length of the error's text that is left, in characters.
const SHORT: usize = 256;
/// Maximum length of the note, in characters.
const MAX_NOTE: usize = 1000;
/// Weight in bytes below which headers are not what makes a message too large.
const LIGHT: usize = 4 * 1024;

/// Takes the next part away; returns `false` if nothing is left that could help.
///
/// Our own long texts go first, then the largest headers, half of the weight at a time.
pub(crate) fn cut(headers: &mut Headers) -> bool {
    cut_texts(headers) || cut_largest(headers)
}

fn cut_texts(headers: &mut Headers) -> bool {
    let dropped = headers.remove(STACK_TRACE).is_some();
    let long = headers
        .text(MESSAGE)
        .filter(|text| text.chars().count() > SHORT);
    let short = long.map(|text| text.chars().take(SHORT).collect::<String>());
    let shortened = short.is_some();
    if let Some(short) = short {
        headers.insert(MESSAGE, short);
    }
    dropped || shortened
}

fn cut_largest(headers: &mut Headers) -> bool {
    let foreign = headers.iter().filter(|(name, _)| !is_reason(name));
    let mut weights: Vec<_> = foreign
        .map(|(name, value)| (weight(value) + name.len(), name.to_owned()))
        .collect();
    weights.sort_unstable_by(|one, other| other.cmp(one));
    let mut total: usize = weights.iter().map(|(weight, _)| weight).sum();
    if total < LIGHT {
        return false;
    }
    let enough = total / 2;
    let mut cut: Vec<_> = headers.text(NOTE).map(str::to_owned).into_iter().collect();
    for (weight, name) in weights {
        if total <= enough {
            break;
        }
        total -= weight;
        headers.remove(&name);
        cut.push(format!("{name} ({weight} bytes)"));
    }
    let note: String = cut.join(", ").chars().take(MAX_NOTE).collect();
    headers.insert(NOTE, note);
    true
}

/// Returns `true` if a header says why, or by which process, a message was moved.
pub(crate) fn is_reason(name: &str) -> bool {
    let starts = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    starts("MT-Fault-")
        || starts("MT-Host-") && !name.eq_ignore_ascii_case("MT-Host-Info")
        || starts("MT-Reason")
}

/// Estimates the bytes that a value takes on the wire.
fn weight(value: &HeaderValue) -> usize {
    match value {
        HeaderValue::Text(text) => text.len() + 5,
        HeaderValue::Bytes(bytes) => bytes.len() + 5,
        HeaderValue::List(values) => values.iter().map(weight).sum::<usize>() + 5,
        HeaderValue::Map(values) => {
            let entries = values
                .iter()
                .map(|(name, value)| name.len() + weight(value));
            entries.sum::<usize>() + 5
        }
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(headers: &Headers) -> usize {
        headers.iter().map(|(_, value)| weight(value)).sum()
    }

    #[test]
    fn our_texts_go_first_then_the_largest() {
        let mut headers = Headers::new();
        headers.insert(STACK_TRACE, "x".repeat(2048));
        headers.insert(MESSAGE, "ä".repeat(2048));
        headers.insert("small", "kept");
        headers.insert("blob", "y".repeat(50_000));
        headers.insert("list", vec!["z".repeat(30_000).into()]);
        assert!(cut(&mut headers));
        assert!(headers.contains("blob") && !headers.contains(STACK_TRACE));
        assert_eq!(headers.text(MESSAGE).unwrap().chars().count(), SHORT);
        assert!(cut(&mut headers));
        assert!(headers.contains("list") && !headers.contains("blob"));
        assert_eq!(headers.text(NOTE), Some("blob (50009 bytes)"));
        assert!(cut(&mut headers));
        let note = headers.text(NOTE).unwrap();
        assert!(note.starts_with("blob (50009 bytes), list ("), "{note}");
        assert_eq!(headers.text("small"), Some("kept"));
        assert!(!cut(&mut headers), "nothing large is left");
    }

    #[test]
    fn many_small_headers_are_cut_too() {
        let mut headers: Headers = (0..900)
            .map(|number| (format!("name-{number}"), "v".repeat(100)))
            .collect();
        while cut(&mut headers) {}
        assert!(total(&headers) < 2 * LIGHT, "{}", total(&headers));
        assert!(headers.text(NOTE).unwrap().len() <= MAX_NOTE);
    }
}
