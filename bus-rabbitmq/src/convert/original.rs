//! Properties and headers of a foreign message that the transport has no field for.
//!
//! They are kept for a move to another queue.

use bus_core::Headers;
use bus_core::message::HeaderValue;
use bus_core::transport::TransportError;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use super::values::{from_value, is_private, short, to_value};

/// Returns `true` if a move of the transport's fields alone would lose something.
///
/// Names of headers that differ only in case are not noticed here, but by the caller.
pub(crate) fn says_more(properties: &BasicProperties) -> bool {
    properties.content_encoding().is_some()
        || properties.kind().is_some()
        || properties.timestamp().is_some()
        || properties.app_id().is_some()
        || properties.reply_to().is_some()
        || properties.cluster_id().is_some()
        || has_kinds_of_its_own(properties)
}

/// Returns `true` if a header would be written with another type than it came with.
fn has_kinds_of_its_own(properties: &BasicProperties) -> bool {
    let Some(headers) = properties.headers() else {
        return false;
    };
    let mut entries = headers.inner().iter();
    entries.any(|(name, value)| !is_private(name.as_str()) && !is_canonical(value))
}

/// Returns `true` if a value is written as it was read.
fn is_canonical(value: &AMQPValue) -> bool {
    match value {
        AMQPValue::Void | AMQPValue::Boolean(_) | AMQPValue::LongInt(_) | AMQPValue::Double(_) => {
            true
        }
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds).is_ok(),
        AMQPValue::LongLongInt(value) => i32::try_from(*value).is_err(),
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).is_ok(),
        AMQPValue::ByteArray(bytes) => std::str::from_utf8(bytes.as_slice()).is_err(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().all(is_canonical),
        AMQPValue::FieldTable(values) => values.inner().values().all(is_canonical),
        _ => false,
    }
}

/// Returns the properties that the transport has no field for.
///
/// The user's id is left out, as a broker refuses that of another user.
pub(crate) fn properties(original: &BasicProperties) -> BasicProperties {
    let mut kept = BasicProperties::default();
    if let Some(encoding) = original.content_encoding() {
        kept = kept.with_content_encoding(encoding.clone());
    }
    if let Some(kind) = original.kind() {
        kept = kept.with_type(kind.clone());
    }
    if let Some(timestamp) = original.timestamp() {
        kept = kept.with_timestamp(*timestamp);
    }
    if let Some(id) = original.app_id() {
        kept = kept.with_app_id(id.clone());
    }
    if let Some(queue) = original.reply_to() {
        kept = kept.with_reply_to(queue.clone());
    }
    if let Some(id) = original.cluster_id() {
        kept = kept.with_cluster_id(id.clone());
    }
    kept
}

/// Returns the headers that a message has now.
///
/// Headers that came with it, and are unchanged, keep their original kinds and names.
pub(crate) fn headers(
    original: &BasicProperties,
    now: &Headers,
) -> Result<FieldTable, TransportError> {
    let mut table = FieldTable::default();
    let came: Vec<_> = original
        .headers()
        .iter()
        .flat_map(FieldTable::inner)
        .filter(|(name, _)| !is_private(name.as_str()))
        .map(|(name, value)| (name, value, from_value(value, 0)))
        .collect();
    // Of names that differ only in case, one was read; if that one is still here, so are the
    // others.
    let stays: Headers = came
        .iter()
        .filter(|(name, _, read)| now.get(name.as_str()) == Some(read))
        .map(|(name, ..)| (name.to_string(), HeaderValue::Null))
        .collect();
    for (name, value, _) in came {
        if stays.contains(name.as_str()) {
            table.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in now.iter().filter(|(name, _)| !stays.contains(name)) {
        table.insert(short("header name", name)?, to_value(value)?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use lapin::types::DecimalValue;

    use super::*;

    fn foreign(entries: &[(&str, AMQPValue)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        BasicProperties::default().with_headers(table)
    }

    fn read(properties: &BasicProperties) -> Headers {
        let entries = properties.headers().iter().flat_map(FieldTable::inner);
        entries
            .map(|(name, value)| (name.to_string(), from_value(value, 0)))
            .collect()
    }

    #[test]
    fn kinds_and_names_survive_a_move() {
        let kinds = [
            ("short", AMQPValue::ShortInt(1)),
            ("long", AMQPValue::LongLongInt(1)),
            ("byte", AMQPValue::ShortShortUInt(1)),
            ("float", AMQPValue::Float(0.1)),
            (
                "decimal",
                AMQPValue::DecimalValue(DecimalValue {
                    scale: 2,
                    value: 129,
                }),
            ),
            ("bytes", AMQPValue::ByteArray(b"text".to_vec().into())),
            ("text", AMQPValue::LongString(vec![0xff].into())),
            ("Case", AMQPValue::LongInt(1)),
            ("case", AMQPValue::LongInt(2)),
        ];
        for kind in &kinds[..7] {
            assert!(says_more(&foreign(std::slice::from_ref(kind))), "{kind:?}");
        }
        let original = foreign(&kinds);
        let mut now = read(&original);
        now.insert("MT-Reason", "fault");
        let moved = headers(&original, &now).unwrap();
        let expected = [
            &kinds[..],
            &[("MT-Reason", AMQPValue::LongString("fault".into()))],
        ];
        assert_eq!(Some(&moved), foreign(&expected.concat()).headers().as_ref());
    }

    #[test]
    fn a_header_that_was_changed_or_taken_off_does_not_come_back() {
        let original = foreign(&[
            ("MT-Reason", AMQPValue::LongInt(1)),
            ("mt-reason", AMQPValue::LongInt(2)),
            ("gone", AMQPValue::ShortInt(3)),
        ]);
        let now: Headers = [("MT-Reason", "fault")].into_iter().collect();
        let moved = headers(&original, &now).unwrap();
        let expected = foreign(&[("MT-Reason", AMQPValue::LongString("fault".into()))]);
        assert_eq!(Some(&moved), expected.headers().as_ref());
    }

    #[test]
    fn what_the_fields_say_in_full_is_not_kept_twice() {
        let plain = foreign(&[
            ("a", AMQPValue::LongString("text".into())),
            ("b", AMQPValue::LongInt(1)),
            ("C", AMQPValue::Timestamp(1)),
        ]);
        assert!(!says_more(
            &plain.with_content_type("x".into()).with_priority(1)
        ));
        let timed = BasicProperties::default().with_timestamp(7);
        assert!(says_more(&timed));
        assert_eq!(properties(&timed).timestamp(), &Some(7));
    }
}
