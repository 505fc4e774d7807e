//! Replacement, in place, of foreign bytes that the client cannot parse.
//!
//! RabbitMQ passes the properties of a message on as they came. AMQP wants UTF-8 in its short
//! strings, but clients whose strings are bytes put other things there; and nothing bounds how deep
//! the lists of a header are nested. The client gives up its whole connection for the one, and its
//! process for the other. Every change keeps the length of the bytes that it changes, so that the
//! frame around them stays as it is.

use crate::convert::MAX_DEPTH;

/// Type of a frame that holds a method.
const METHOD: u8 = 1;
/// Type of a frame that holds the properties of a message.
const CONTENT_HEADER: u8 = 2;

/// Class and method of what the broker closes a connection with.
///
/// As in the two below, a code and a text follow.
const CONNECTION_CLOSE: (u16, u16) = (10, 50);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);
const BASIC_RETURN: (u16, u16) = (60, 50);

/// Replacement for each byte that is no UTF-8.
const REPLACEMENT: u8 = b'?';

/// Makes the payload of a frame parseable; returns `true` if it had to be changed.
pub(crate) fn sanitize(frame_type: u8, payload: &mut [u8]) -> bool {
    let mut cursor = Cursor {
        rest: payload,
        changed: false,
    };
    // A payload that ends too early is left to the client, which reports it properly.
    let _ = match frame_type {
        CONTENT_HEADER => cursor.content_header(),
        METHOD => cursor.method(),
        _ => Some(()),
    };
    cursor.changed
}

/// Position in a payload, for a walk without a copy.
///
/// Every step gives `None` where the payload ends too early.
struct Cursor<'a> {
    /// Bytes that were not looked at.
    rest: &'a mut [u8],
    changed: bool,
}

impl<'a> Cursor<'a> {
    /// Walks through a content header (AMQP 0-9-1, section 4.2.6.1).
    ///
    /// It holds class, weight, body size, flags, and the properties whose flags are set.
    fn content_header(&mut self) -> Option<()> {
        self.take(12)?;
        let flags = self.u16()?;
        for bit in (2..16).rev().filter(|bit| flags & (1 << bit) != 0) {
            match bit {
                HEADERS => self.table(0)?,
                DELIVERY_MODE | PRIORITY => drop(self.take(1)?),
                TIMESTAMP => drop(self.take(8)?),
                _ => self.short_string()?,
            }
        }
        Some(())
    }

    /// Makes the reply text of a method readable.
    ///
    /// The broker cuts its own words after 255 bytes, which may be within a character of a name.
    fn method(&mut self) -> Option<()> {
        let method = (self.u16()?, self.u16()?);
        if [CONNECTION_CLOSE, CHANNEL_CLOSE, BASIC_RETURN].contains(&method) {
            self.take(2)?;
            self.short_string()?;
        }
        Some(())
    }

    /// Walks through a short string: a byte of length, and text that is to be UTF-8.
    fn short_string(&mut self) -> Option<()> {
        let length = self.take(1)?[0];
        let text = self.take(length.into())?;
        self.changed |= replace_invalid(text);
        Some(())
    }

    /// Walks through a table: four bytes of length, then names and values.
    fn table(&mut self, depth: usize) -> Option<()> {
        let mut entries = self.long()?;
        while !entries.rest.is_empty() {
            entries.short_string()?;
            entries.value(depth)?;
        }
        self.changed |= entries.changed;
        Some(())
    }

    /// Walks through a list: four bytes of length, then values.
    fn list(&mut self, depth: usize) -> Option<()> {
        let mut values = self.long()?;
        while !values.rest.is_empty() {
            values.value(depth)?;
        }
        self.changed |= values.changed;
        Some(())
    }

    /// Walks through a value of a table or list, by its tag.
    ///
    /// A list or table that lies too deep becomes the bytes that it consists of.
    fn value(&mut self, depth: usize) -> Option<()> {
        let tag = self.take(1)?;
        match tag[0] {
            b'A' | b'F' if depth >= MAX_DEPTH => {
                tag[0] = b'x';
                self.changed = true;
                self.long()?;
            }
            b'F' => self.table(depth + 1)?,
            b'A' => self.list(depth + 1)?,
            b'S' | b'x' => self.long().map(|_| ())?,
            b'V' => {}
            b't' | b'b' | b'B' => drop(self.take(1)?),
            b's' | b'U' | b'u' => drop(self.take(2)?),
            b'I' | b'i' | b'f' => drop(self.take(4)?),
            b'D' => drop(self.take(5)?),
            b'L' | b'l' | b'd' | b'T' => drop(self.take(8)?),
            // The broker knows no other one.
            _ => return None,
        }
        Some(())
    }

    /// Takes the bytes that a length of four bytes announces.
    fn long(&mut self) -> Option<Cursor<'a>> {
        let length = self.take(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let rest = self.take(usize::try_from(length).ok()?)?;
        Some(Cursor {
            rest,
            changed: false,
        })
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn take(&mut self, count: usize) -> Option<&'a mut [u8]> {
        self.rest.split_off_mut(..count)
    }
}

// The flags of the properties that are no short strings.
const HEADERS: u16 = 13;
const DELIVERY_MODE: u16 = 12;
const PRIORITY: u16 = 11;
const TIMESTAMP: u16 = 6;

/// Replaces every byte that is no part of UTF-8; returns `true` if there was one.
fn replace_invalid(mut text: &mut [u8]) -> bool {
    let mut changed = false;
    while let Err(error) = std::str::from_utf8(text) {
        let from = error.valid_up_to();
        let until = error.error_len().map_or(text.len(), |length| from + length);
        text[from..until].fill(REPLACEMENT);
        text = &mut text[until..];
        changed = true;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &[u8]) -> Vec<u8> {
        [&[u8::try_from(text.len()).unwrap()], text].concat()
    }

    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// Builds the payload of a content header of class basic.
    fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0];
        payload.extend(7_u64.to_be_bytes());
        payload.extend(flags.to_be_bytes());
        payload.extend(properties);
        payload
    }

    fn nested(levels: usize) -> Vec<u8> {
        (0..levels).fold(vec![b'V'], |inner, _| [vec![b'A'], long(&inner)].concat())
    }

    fn depth(mut value: &[u8]) -> usize {
        let mut depth = 0;
        while value[0] == b'A' {
            value = &value[5..];
            depth += 1;
        }
        depth
    }

    #[test]
    fn what_is_well_formed_stays_as_it_is() {
        let mut entries = Vec::new();
        for (tag, value) in [
            (b't', vec![1]),
            (b's', vec![0; 2]),
            (b'I', vec![0; 4]),
            (b'l', vec![0xff; 8]),
            (b'D', vec![0xff; 5]),
            (b'T', vec![0xff; 8]),
            (b'V', vec![]),
            (b'S', long(&[0xff, 0xfe])),
            (b'x', long(&[0xff])),
            (b'F', long(&[short("ß".as_bytes()), vec![b't', 0]].concat())),
        ] {
            entries.extend(short(&[tag]));
            entries.push(tag);
            entries.extend(value);
        }
        let properties = [
            short(b"text/plain"),
            short(b"gzip"),
            long(&entries),
            vec![2, 9],
            short("größe".as_bytes()),
            short(b"reply"),
            short(b"100"),
            short(b"id"),
            vec![0xff; 8],
            short(b"type"),
            short(b"user"),
            short(b"app"),
            short(b"cluster"),
        ]
        .concat();
        let payload = header(0xfffc, &properties);
        let mut read = payload.clone();
        assert!(!sanitize(CONTENT_HEADER, &mut read));
        assert_eq!(read, payload);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced_one_by_one() {
        // The flags of content type, message id, type and app id.
        for flag in [15, 7, 5, 3] {
            let mut payload = header(1 << flag, &short(b"Caf\xe9 \xff\xfe!"));
            assert!(sanitize(CONTENT_HEADER, &mut payload));
            assert_eq!(payload, header(1 << flag, &short(b"Caf? ??!")));
        }
        let entry = |name: &[u8]| long(&[short(name), vec![b't', 1]].concat());
        let mut payload = header(1 << HEADERS, &entry(b"stra\xdfe"));
        assert!(sanitize(CONTENT_HEADER, &mut payload));
        assert_eq!(payload, header(1 << HEADERS, &entry(b"stra?e")));
    }

    #[test]
    fn nesting_is_cut_where_it_is_too_deep() {
        for (levels, expected) in [(1, 1), (MAX_DEPTH, MAX_DEPTH), (25_000, MAX_DEPTH)] {
            let table = long(&[short(b"n"), nested(levels)].concat());
            let mut payload = header(1 << HEADERS, &table);
            assert_eq!(sanitize(CONTENT_HEADER, &mut payload), levels > MAX_DEPTH);
            let value = &payload[14 + 4 + 2..];
            assert_eq!(depth(value), expected);
            assert_eq!(value.len(), nested(levels).len());
        }
    }

    #[test]
    fn a_table_within_lists_is_followed() {
        let inner = [vec![b'F'], long(&[short(b"\xff"), vec![b'V']].concat())].concat();
        let table = long(&[short(b"n"), vec![b'A'], long(&inner)].concat());
        let mut payload = header(1 << HEADERS, &table);
        assert!(sanitize(CONTENT_HEADER, &mut payload));
        assert!(std::str::from_utf8(&payload).is_ok());
    }

    #[test]
    fn words_that_the_broker_cut_within_a_character_are_readable() {
        for (class, method) in [CONNECTION_CLOSE, CHANNEL_CLOSE, BASIC_RETURN] {
            let mut payload = [class.to_be_bytes(), method.to_be_bytes(), [1, 148]].concat();
            payload.extend(short(b"no exchange 'gr\xc3..."));
            assert!(sanitize(METHOD, &mut payload));
            assert!(payload.ends_with(b"'gr?..."));
        }
        let mut deliver = [0, 60, 0, 60, 0xff, 0xff, 1, 0xff];
        assert!(!sanitize(METHOD, &mut deliver));
    }

    #[test]
    fn what_ends_too_early_is_left_alone() {
        let whole = header(
            0xfffc,
            &[short(b"\xff"), short(b"x"), long(&nested(3))].concat(),
        );
        for length in 0..whole.len() {
            let mut part = whole[..length].to_vec();
            sanitize(CONTENT_HEADER, &mut part);
            assert_eq!(part.len(), length);
        }
    }
}
