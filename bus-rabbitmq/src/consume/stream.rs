//! Position in a stream, from which a new subscription goes on.
//!
//! A stream keeps its messages, and an acknowledgement only frees a place of the prefetch. So what
//! was handled is remembered here, for as long as the process lives; a new process begins where its
//! endpoint says.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use bus_core::message::HeaderValue;
use bus_core::transport::{Incoming, ListenSpec, StreamOffset};
use lapin::types::AMQPValue;

/// Header that holds the offset of each message of a stream.
const OFFSET: &str = "x-stream-offset";

/// Begin of a subscription of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At the place that the endpoint asked for, or at an offset.
    As(StreamOffset),
    /// At the messages written since then, in whole seconds since 1970.
    Since(u64),
}

impl Begin {
    /// Converts to the argument `x-stream-offset` of `basic.consume`.
    pub(crate) fn argument(self) -> AMQPValue {
        match self {
            Self::As(StreamOffset::First) => AMQPValue::LongString("first".into()),
            Self::As(StreamOffset::Last) => AMQPValue::LongString("last".into()),
            Self::As(StreamOffset::Next) => AMQPValue::LongString("next".into()),
            Self::As(StreamOffset::At(offset)) => {
                AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
            }
            Self::Since(seconds) => AMQPValue::Timestamp(seconds),
        }
    }
}

/// Begins of the subscriptions of one listener.
#[derive(Debug)]
pub(crate) struct Bookmark {
    /// Begin that the endpoint asked for.
    wanted: StreamOffset,
    /// Time of the first subscription, in whole seconds since 1970.
    since: u64,
    /// Offset from which to read on; `None` while nothing came.
    next: Option<u64>,
}

impl Bookmark {
    /// Creates a bookmark; `None` for a queue that is no stream.
    pub(crate) fn of(spec: &ListenSpec) -> Option<Self> {
        Some(Self {
            wanted: spec.stream_offset?,
            since: now(),
            next: None,
        })
    }

    /// Notes how far a subscription came, if it got anything.
    pub(crate) fn note(&mut self, next: Option<u64>) {
        self.next = next.or(self.next);
    }

    /// Begin of the first subscription.
    pub(crate) fn first(&self) -> Begin {
        Begin::As(self.wanted)
    }

    /// Begin of a later subscription.
    ///
    /// Messages that came while there was none must not be skipped, even if nothing came before:
    /// the stream is read from the time at which the first subscription began, at the price that
    /// messages of the same second that lie before it may be read.
    pub(crate) fn again(&self) -> Begin {
        match (self.next, self.wanted) {
            (Some(next), _) => Begin::As(StreamOffset::At(next)),
            (None, StreamOffset::Next | StreamOffset::Last) => Begin::Since(self.since),
            (None, wanted) => Begin::As(wanted),
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Offsets of the messages that one subscription has handed out.
///
/// A message that goes back makes the subscription end, and is read again with all that came after
/// it: a stream takes nothing back. So messages after an open one may come twice.
#[derive(Debug, Default)]
pub(crate) struct StreamPosition {
    /// Offsets by delivery tag; settled ones leave when all before them have.
    open: BTreeMap<u64, u64>,
    /// Offset behind the last one that is settled with all before it.
    next: Option<u64>,
}

impl StreamPosition {
    pub(crate) fn handed_out(&mut self, tag: u64, incoming: &Incoming) {
        let offset = incoming.headers.get(OFFSET).and_then(HeaderValue::as_i64);
        if let Some(offset) = offset.and_then(|offset| u64::try_from(offset).ok()) {
            self.open.insert(tag, offset);
        }
    }

    /// Notes that everything below this tag is settled.
    pub(crate) fn settled_below(&mut self, tag: u64) {
        let still_open = self.open.split_off(&tag);
        if let Some((_, offset)) = self.open.pop_last() {
            self.next = Some(offset + 1);
        }
        self.open = still_open;
    }

    /// Lowest offset that is not known to be settled.
    pub(crate) fn next(&self) -> Option<u64> {
        self.open.values().next().copied().or(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Incoming {
        Incoming {
            headers: [(OFFSET, offset)].into_iter().collect(),
            ..Incoming::default()
        }
    }

    #[test]
    fn what_is_open_is_read_again() {
        let mut position = StreamPosition::default();
        assert_eq!(position.next(), None);
        // Offsets have gaps where the broker filters.
        for (tag, offset) in [(1, 70), (3, 75), (2, 72)] {
            position.handed_out(tag, &at(offset));
        }
        assert_eq!(position.next(), Some(70));
        position.settled_below(2);
        assert_eq!(position.next(), Some(72));
        position.settled_below(4);
        assert_eq!(position.next(), Some(76));
    }

    #[test]
    fn a_subscription_goes_on_where_the_last_one_ended() {
        let bookmark = |wanted| Bookmark {
            wanted,
            since: 7,
            next: None,
        };
        let mut next = bookmark(StreamOffset::Next);
        assert_eq!(next.first(), Begin::As(StreamOffset::Next));
        assert_eq!(next.again(), Begin::Since(7));
        next.note(Some(5));
        next.note(None);
        assert_eq!(next.again(), Begin::As(StreamOffset::At(5)));
        let first = bookmark(StreamOffset::First);
        assert_eq!(first.again(), Begin::As(StreamOffset::First));
    }
}
