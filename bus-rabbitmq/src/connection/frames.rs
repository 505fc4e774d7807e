//! Frames in a stream of bytes, inspected wherever the reads cut them.
//!
//! A frame (AMQP 0-9-1, section 4.2.3) is `type (1) · channel (2) · length (4) · payload · 0xCE`.
//! Methods (type 1) and content headers (2) are inspected; bodies (3) and heartbeats (8) pass
//! through without a copy. A frame that comes in several reads is gathered, and handed out once it
//! is whole:
//!
//! ```text
//!             ┌──────────────► passing: n bytes of a body to go ─┐
//!  head known ┤                                                  ├──► next head
//!             └─► whole in this read: inspected in place ────────┤
//!             └─► not whole: gathering ─► whole: handed out ─────┘
//! ```
//!
//! A stream that holds no frames passes through unchanged from there on, so that the client can say
//! what it got instead.

use super::sanitize::sanitize;

/// Length of a frame's head: type, channel, and length of the payload.
const FRAME_HEAD: usize = 7;

/// Length of the longest frame that is inspected, in bytes.
///
/// A longer one ends the connection, regardless of its content; nothing is gathered for it.
/// RabbitMQ sends none above the negotiated `frame_max`, 128 KiB by default.
const MAX_INSPECTED: usize = 4 * 1024 * 1024;

/// Position in the stream of frames.
///
/// Bodies pass through; frames that are to be inspected are gathered if they come in parts.
#[derive(Default)]
pub(super) struct Frames {
    /// Number of bytes of the present frame that still pass through.
    passing: usize,
    /// Present frame, gathered from several reads.
    gathering: Vec<u8>,
    /// Number of gathered bytes.
    filled: usize,
    /// Number of gathered bytes that were handed out, once whole and inspected.
    handed_out: usize,
    /// `true` if the gathered bytes can be handed out.
    ///
    /// The frame is whole then, or the stream ended within it.
    is_whole: bool,
    /// `true` if the stream holds no AMQP frames.
    is_foreign: bool,
    /// Channels of the frames that were changed and are not noted yet.
    pub(super) sanitized: Vec<u16>,
}

impl Frames {
    /// Copies gathered and inspected bytes to the buffer; `None` if there are none.
    pub(super) fn hand_out(&mut self, buffer: &mut [u8]) -> Option<usize> {
        if !self.is_whole {
            return None;
        }
        let rest = &self.gathering[self.handed_out..self.filled];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.handed_out += count;
        if self.handed_out == self.filled {
            self.gathering.clear();
            (self.filled, self.handed_out, self.is_whole) = (0, 0, false);
        }
        Some(count)
    }

    /// Space for the rest of the frame that is being gathered.
    pub(super) fn missing(&mut self) -> Option<&mut [u8]> {
        (!self.gathering.is_empty()).then(|| &mut self.gathering[self.filled..])
    }

    /// Notes the number of missing bytes that came; zero at the end of the stream.
    pub(super) fn gathered(&mut self, count: usize) {
        self.filled += count;
        if count == 0 {
            self.is_whole = true;
        } else if self.filled == self.gathering.len() {
            self.finish_part();
        }
    }

    /// Goes on once the head, or the whole frame, is there.
    fn finish_part(&mut self) {
        match Kind::of(&self.gathering) {
            Kind::Inspected(length) if length > self.filled => self.gathering.resize(length, 0),
            Kind::Inspected(length) => {
                self.sanitized
                    .extend(sanitize_frame(&mut self.gathering[..length]));
                self.is_whole = true;
            }
            Kind::Passing(length) => {
                self.passing = length - self.filled;
                self.is_whole = true;
            }
            Kind::Foreign => {
                self.is_foreign = true;
                self.is_whole = true;
            }
        }
    }

    /// Inspects the bytes that were read; returns the number of bytes that can be used.
    ///
    /// Keeps the last frame back if it must be seen whole.
    pub(super) fn inspect(&mut self, read: &mut [u8]) -> usize {
        let mut position = 0;
        while position < read.len() && !self.is_foreign {
            let rest = &mut read[position..];
            if self.passing > 0 {
                let count = self.passing.min(rest.len());
                self.passing -= count;
                position += count;
                continue;
            }
            if rest.len() < FRAME_HEAD {
                self.keep(rest, FRAME_HEAD);
                return position;
            }
            match Kind::of(rest) {
                Kind::Inspected(length) if length > rest.len() => {
                    self.keep(rest, length);
                    return position;
                }
                Kind::Inspected(length) => {
                    self.sanitized.extend(sanitize_frame(&mut rest[..length]));
                    position += length;
                }
                Kind::Passing(length) => self.passing = length,
                Kind::Foreign => self.is_foreign = true,
            }
        }
        read.len()
    }

    /// Starts to gather a frame of this length, of which a part was read.
    fn keep(&mut self, part: &[u8], length: usize) {
        self.gathering.extend_from_slice(part);
        self.gathering.resize(length, 0);
        self.filled = part.len();
    }
}

/// Treatment of a frame, with its length in bytes.
enum Kind {
    /// Frame whose content the client parses.
    Inspected(usize),
    /// Frame whose content the client takes as bytes, or that has none.
    Passing(usize),
    /// Anything else, such as the protocol header of a broker of another version.
    Foreign,
}

impl Kind {
    /// Reads the head of a frame; the length includes head and end.
    fn of(frame: &[u8]) -> Self {
        let [kind, _, _, a, b, c, d, ..] = *frame else {
            return Self::Foreign;
        };
        let payload = u32::from_be_bytes([a, b, c, d]) as usize;
        let length = payload.saturating_add(FRAME_HEAD + 1);
        match kind {
            1 | 2 if length <= MAX_INSPECTED => Self::Inspected(length),
            3 | 8 => Self::Passing(length),
            _ => Self::Foreign,
        }
    }
}

/// Makes a frame parseable; returns its channel if it had to be changed.
fn sanitize_frame(frame: &mut [u8]) -> Option<u16> {
    let (channel, end) = (u16::from_be_bytes([frame[1], frame[2]]), frame.len() - 1);
    sanitize(frame[0], &mut frame[FRAME_HEAD..end]).then_some(channel)
}
