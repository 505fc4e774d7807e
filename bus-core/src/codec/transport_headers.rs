//! Selection of headers: those that travel outside the body, those of the user.
//!
//! ```text
//!                     mirror (MassTransit envelope): simple values, as a copy for brokers and tools
//!  envelope.headers ──carry  (raw JSON): all values, as they travel nowhere else ──► transport
//!  envelope.headers ◄─adopt  what is not noise, not metadata, and not in the envelope ── transport
//! ```

use std::borrow::Cow;

use crate::message::{Envelope, HeaderValue, Headers, iso8601};

/// Headers about one transfer, not about the message.
///
/// They are written by brokers, their plugins and client libraries, or by older versions of
/// MassTransit. A name that ends in `*` stands for all that begin so.
const NOISE: &[&str] = &[
    "BCC",
    "CC",
    "Content-Type",
    "ContentType",
    "publishId",
    "RabbitMQ-*",
    "x-acquired-count",
    "x-death",
    "x-delay",
    "x-delivery-count",
    "x-dotnet-pub-seq-no",
    "x-first-death-*",
    "x-last-death-*",
    "x-opt-*",
    "x-received-from",
    "x-routing-key",
    "x-shovelled",
    "x-shovelled-timestamp",
    "x-stream-filter-value",
    "x-stream-offset",
];

/// Copies the envelope's headers for the transport.
///
/// Each value is in MassTransit's spelling.
///
/// Lists and maps stay behind, in the envelope; `false` is left out, as .NET does.
pub(super) fn mirror(envelope: &Envelope) -> Headers {
    copy(&envelope.headers, |value| match value {
        HeaderValue::Bool(false) | HeaderValue::List(_) | HeaderValue::Map(_) => None,
        value => simple(value),
    })
}

/// Copies the envelope's headers for a format in which they travel nowhere else.
///
/// Nothing but `null` and [`NOISE`] is left out.
pub(super) fn carry(envelope: &Envelope) -> Headers {
    copy(&envelope.headers, simple)
}

/// Adds to `headers` what came beside the body and is not there yet.
///
/// Leaves out [`NOISE`] and the names that `skip` returns `true` for.
pub(super) fn adopt(headers: &mut Headers, transport: &Headers, skip: impl Fn(&str) -> bool) {
    for (name, value) in transport.iter() {
        if !is_noise(name) && !skip(name) && !headers.contains(name) {
            headers.insert(name.to_owned(), value.clone());
        }
    }
}

/// Copies headers with their values respelled; shares them where none changes.
fn copy(headers: &Headers, spell: fn(&HeaderValue) -> Option<Cow<'_, HeaderValue>>) -> Headers {
    let travels_as_it_is =
        |(name, value)| !is_noise(name) && matches!(spell(value), Some(Cow::Borrowed(_)));
    if headers.iter().all(travels_as_it_is) {
        return headers.clone();
    }
    headers
        .iter()
        .filter(|(name, _)| !is_noise(name))
        .filter_map(|(name, value)| Some((name.to_owned(), spell(value)?.into_owned())))
        .collect()
}

/// Spells a value as MassTransit does in AMQP headers; `None` leaves it out.
///
/// Texts `True` and `False` for truth values. A time before 1970 becomes text, since AMQP's
/// timestamp has no sign.
fn simple(value: &HeaderValue) -> Option<Cow<'_, HeaderValue>> {
    match value {
        HeaderValue::Null => None,
        HeaderValue::Bool(truth) => Some(Cow::Owned(if *truth { "True" } else { "False" }.into())),
        HeaderValue::Timestamp(seconds) if *seconds < 0 => iso8601::from_seconds(*seconds)
            .map(|time| Cow::Owned(iso8601::format(time).as_str().into())),
        value => Some(Cow::Borrowed(value)),
    }
}

/// Returns `true` for a header about one transfer, such as RabbitMQ's `x-death`.
///
/// It is neither shown to consumers nor sent on: RabbitMQ 3 takes a message that brings its old
/// `x-death` along for one in a dead-letter cycle, and may drop it.
pub(crate) fn is_noise(name: &str) -> bool {
    let first = name.get(..1).unwrap_or_default();
    // Looked at for each header of each message, so what differs at once is passed over at once.
    let alike = |noise: &&&str| first.eq_ignore_ascii_case(&noise[..1]);
    let mut alike = NOISE.iter().filter(alike);
    alike.any(|noise| match noise.strip_suffix('*') {
        Some(prefix) => name
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix)),
        None => name.eq_ignore_ascii_case(noise),
    })
}
