//! Size of headers in a frame.
//!
//! The properties of a message travel in one content header frame, which AMQP does not split.
//! RabbitMQ closes the connection of a frame above `frame_max` (501, `FRAME_ERROR`), with all of
//! its channels. Bodies are split into frames, so only their total size is bounded
//! (`max_message_size`, 406).

use bus_core::Headers;
use bus_core::message::HeaderValue;
use bus_core::transport::{TransportError, TransportErrorKind};
use lapin::types::{AMQPValue, FieldTable};

/// Maximum size of headers, in bytes, where the broker's limit is the default.
///
/// Headers travel in one frame, which the broker limits to 128 KiB by default; a larger one ends
/// the connection.
pub(super) const MAX_HEADERS: usize = 120 * 1024;

/// Room for other properties in the frame of the headers, in bytes.
///
/// Ten of them are short strings, of at most 256 bytes each.
const OTHER_PROPERTIES: usize = 8 * 1024;

/// Refuses headers that can fit no frame of a broker with default settings.
///
/// Estimates, as it runs for each message before the properties are made; the exact size is checked
/// when they are.
pub(super) fn check_size(headers: &Headers) -> Result<(), TransportError> {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.len() + 6 + weight(value));
    fits_frame(sizes.sum(), MAX_HEADERS)
}

/// Refuses headers that take more bytes than a frame has for them.
pub(crate) fn fits_frame(size: usize, most: usize) -> Result<(), TransportError> {
    if size > most {
        return Err(TransportError::new(
            TransportErrorKind::TooLarge,
            format!("the headers have about {size} bytes; RabbitMQ takes at most {most}"),
        ));
    }
    Ok(())
}

/// Returns the maximum size of headers, in bytes, for a maximum size of frames.
///
/// The rest of the frame is left for the other properties. A `frame_max` of 0 means no limit, and
/// gives [`MAX_HEADERS`].
pub(crate) fn most_headers(frame_max: u32) -> usize {
    match usize::try_from(frame_max) {
        Ok(frame) if frame > 0 => frame - (frame / 2).min(OTHER_PROPERTIES),
        _ => MAX_HEADERS,
    }
}

/// Returns the number of bytes that a table takes on the wire.
pub(super) fn table_size(table: &FieldTable) -> usize {
    let entries = table.inner().iter();
    let sizes = entries.map(|(name, value)| 2 + name.as_str().len() + value_size(value));
    4 + sizes.sum::<usize>()
}

/// Number of bytes of a value, without its type.
fn value_size(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.as_slice().len(),
        AMQPValue::FieldArray(values) => {
            let sizes = values.as_slice().iter().map(|value| 1 + value_size(value));
            4 + sizes.sum::<usize>()
        }
        AMQPValue::FieldTable(table) => table_size(table),
    }
}

/// Estimates the number of bytes that a value takes on the wire.
fn weight(value: &HeaderValue) -> usize {
    match value {
        HeaderValue::Text(text) => text.len(),
        HeaderValue::Bytes(bytes) => bytes.len(),
        HeaderValue::List(values) => values.iter().map(|value| 5 + weight(value)).sum(),
        HeaderValue::Map(values) => values
            .iter()
            .map(|(name, value)| 6 + name.len() + weight(value))
            .sum(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_room_for_the_other_properties() {
        assert_eq!(most_headers(131_072), MAX_HEADERS);
        assert_eq!(most_headers(16_384), 8 * 1024);
        assert_eq!(most_headers(4096), 2048);
        assert_eq!(most_headers(0), MAX_HEADERS, "no limit");
    }
}
