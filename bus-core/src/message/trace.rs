//! The W3C trace context that travels with every message.
//!
//! ```text
//!  00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//!  version   trace id                   span id         flags
//! ```
//!
//! MassTransit puts it into `MT-Activity-Id`, everything else reads `traceparent`; both are
//! written.

use std::fmt;

use uuid::Uuid;

use super::headers::Headers;

/// Header that MassTransit reads and writes.
const ACTIVITY_ID: &str = "MT-Activity-Id";
/// Header of all other systems, from the W3C recommendation "Trace Context".
const TRACEPARENT: &str = "traceparent";
const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Length of the text of a context, in bytes.
const LENGTH: usize = 55;
/// Bit of `flags` that says that the trace is recorded.
const SAMPLED: u8 = 1;

/// One step of a distributed trace: its trace id, span id and flags.
///
/// ```
/// use bus_core::message::TraceContext;
/// use bus_core::Headers;
///
/// let mut headers = Headers::new();
/// let first = TraceContext::root();
/// first.child().write(&mut headers);
///
/// let received = TraceContext::from_headers(&headers).expect("written above");
/// assert_eq!(received.trace_id, first.trace_id);
/// assert_ne!(received.span_id, first.span_id);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Trace id, the same for everything that one first cause led to.
    ///
    /// Never all zeros: [`parse`](Self::parse) refuses them.
    pub trace_id: [u8; 16],
    /// Span id of this step; never all zeros.
    pub span_id: [u8; 8],
    /// Flags; bit 0: the trace is recorded.
    pub flags: u8,
}

impl TraceContext {
    /// Starts a new trace, not marked as recorded.
    pub fn root() -> Self {
        Self {
            trace_id: Uuid::new_v4().into_bytes(),
            span_id: new_span_id(),
            flags: 0,
        }
    }

    /// Returns this step, marked as recorded.
    #[must_use]
    pub fn sampled(self) -> Self {
        Self {
            flags: self.flags | SAMPLED,
            ..self
        }
    }

    /// Returns the next step of the same trace, with a new span id.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: new_span_id(),
            ..*self
        }
    }

    /// Reads `00-<trace>-<span>-<flags>`.
    ///
    /// `None` for anything that the recommendation calls invalid. Of a later version, the four
    /// parts known today are read.
    pub fn parse(text: &str) -> Option<Self> {
        let (known, rest) = text.split_at_checked(LENGTH)?;
        let [version] = hex(known.get(0..2)?)?;
        let goes_on = rest.starts_with('-');
        if version == 0xff || !(rest.is_empty() || version > 0 && goes_on) {
            return None;
        }
        let mut parts = known.get(2..)?.strip_prefix('-')?.split('-');
        let context = Self {
            trace_id: hex(parts.next()?)?,
            span_id: hex(parts.next()?)?,
            flags: u8::from_be_bytes(hex(parts.next()?)?),
        };
        (parts.next().is_none() && context.trace_id != [0; 16] && context.span_id != [0; 8])
            .then_some(context)
    }

    /// Reads the context that came with a message.
    ///
    /// Taken from `MT-Activity-Id`, else from `traceparent`; a malformed one does not count.
    pub fn from_headers(headers: &Headers) -> Option<Self> {
        [ACTIVITY_ID, TRACEPARENT]
            .into_iter()
            .find_map(|name| Self::parse(headers.text(name)?))
    }

    /// Writes both headers, `MT-Activity-Id` and `traceparent`.
    pub fn write(&self, headers: &mut Headers) {
        let text = self.text();
        let text = str::from_utf8(&text).expect("digits and dashes");
        headers.insert(ACTIVITY_ID, text);
        headers.insert(TRACEPARENT, text);
    }

    /// Formats `00-<trace>-<span>-<flags>`.
    ///
    /// It is written for every message, so without the machinery of `format!`.
    fn text(&self) -> [u8; LENGTH] {
        let mut text = *b"00-tttttttttttttttttttttttttttttttt-ssssssssssssssss-ff";
        write_hex(&mut text[3..35], &self.trace_id);
        write_hex(&mut text[36..52], &self.span_id);
        write_hex(&mut text[53..], &[self.flags]);
        text
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).expect("digits and dashes"))
    }
}

/// Writes bytes as lower-case hexadecimal digits; `text` has two places for each.
fn write_hex(text: &mut [u8], bytes: &[u8]) {
    for (digits, byte) in text.chunks_exact_mut(2).zip(bytes) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Makes eight random bytes that are not all zeros.
fn new_span_id() -> [u8; 8] {
    // Bytes 6 and 8 of a version 4 UUID hold fixed bits; these eight are random throughout.
    let random = Uuid::new_v4().into_bytes();
    let mut span_id = [0; 8];
    span_id[..6].copy_from_slice(&random[..6]);
    span_id[6..].copy_from_slice(&random[9..11]);
    if span_id == [0; 8] {
        return new_span_id();
    }
    span_id
}

/// Reads `N` bytes from exactly `2 * N` lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURED: &str = "00-1b74e09d69b72ee3fa2186676adf1b0b-b063c033311c94a5-01";

    #[test]
    fn a_context_survives_its_text() {
        let context = TraceContext::parse(CAPTURED).unwrap();
        assert_eq!(context.to_string(), CAPTURED);
        assert_eq!(context.trace_id[0], 0x1b);
        assert_eq!(context.span_id[7], 0xa5);
        let new = TraceContext::root();
        assert_eq!(TraceContext::parse(&new.to_string()), Some(new));
    }

    #[test]
    fn a_child_keeps_trace_and_flags() {
        let parent = TraceContext::root().sampled();
        let child = parent.child();
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, SAMPLED));
        assert_ne!(child.span_id, parent.span_id);
    }

    #[test]
    fn malformed_texts_are_no_context() {
        let later = CAPTURED.replacen("00", "01", 1);
        assert!(TraceContext::parse(&format!("{later}-what-comes")).is_some());
        for bad in [
            String::new(),
            "x".repeat(55),
            "ß".repeat(28),
            CAPTURED.to_uppercase(),
            CAPTURED.replacen("00", "ff", 1),
            format!("{CAPTURED}-more"),
            format!("{later}x"),
            CAPTURED.replace("1b74e09d69b72ee3fa2186676adf1b0b", &"0".repeat(32)),
            CAPTURED.replace("b063c033311c94a5", &"0".repeat(16)),
            CAPTURED.replace('-', "+"),
        ] {
            assert_eq!(TraceContext::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn masstransits_header_comes_first_unless_it_is_malformed() {
        let other = TraceContext::root();
        let mut headers = Headers::new();
        headers.insert("traceparent", other.to_string());
        headers.insert("mt-activity-id", CAPTURED);
        assert_eq!(
            TraceContext::from_headers(&headers).unwrap().to_string(),
            CAPTURED
        );
        headers.insert("MT-Activity-Id", "|1.2.");
        assert_eq!(TraceContext::from_headers(&headers), Some(other));
        assert_eq!(TraceContext::from_headers(&Headers::new()), None);
    }
}
