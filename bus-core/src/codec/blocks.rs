//! Memory for encoded bytes: blocks that many of them share.
//!
//! A message is encoded on its own and then copied into an envelope, and both end at about the same
//! time. So a thread writes into one buffer that it keeps, and cuts the results from blocks: an
//! allocation for each dozen messages instead of several for each.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

/// Size of a block of memory, in bytes.
///
/// It is given back when the last of the texts in it is gone.
const BLOCK: usize = 16 * 1024;

/// Length above which a text has memory of its own, in bytes.
///
/// So no long text keeps the memory of others for long.
const LONG: usize = BLOCK / 4;

/// Maximum memory that a thread keeps for the next text, in bytes.
const MAX_KEPT: usize = 256 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static REST: Cell<BytesMut> = Cell::default();
}

/// Collects what `write` writes.
///
/// The buffer that it is given is kept for the next one.
pub(super) fn collect<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, E> {
    // Taken out meanwhile: writing one message may encode another one.
    let mut scratch = SCRATCH.take();
    scratch.clear();
    write(&mut scratch)?;
    if scratch.len() > LONG {
        // The next one may well be as long, and growing to that copies it more than once.
        SCRATCH.set(Vec::with_capacity(scratch.len().min(MAX_KEPT)));
        return Ok(scratch.into());
    }
    let mut rest = REST.take();
    if rest.capacity() < scratch.len() {
        rest = BytesMut::with_capacity(BLOCK);
    }
    rest.extend_from_slice(&scratch);
    let text = rest.split().freeze();
    REST.set(rest);
    SCRATCH.set(scratch);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn collected(text: &[u8]) -> Bytes {
        let write = |buffer: &mut Vec<u8>| {
            buffer.extend_from_slice(text);
            Ok::<_, Infallible>(())
        };
        collect(write).unwrap()
    }

    #[test]
    fn every_text_is_whole_at_any_length() {
        let lengths = [0, 1, 700, LONG, LONG + 1, 3 * BLOCK, 5];
        let texts: Vec<Vec<u8>> = (0..100u8)
            .zip(lengths.into_iter().cycle())
            .map(|(byte, length)| vec![byte; length])
            .collect();
        let kept: Vec<Bytes> = texts.iter().map(|text| collected(text)).collect();
        assert_eq!(kept, texts);
    }

    #[test]
    fn a_text_may_be_written_while_another_one_is() {
        let outer = collect(|buffer| {
            buffer.extend_from_slice(b"<");
            buffer.extend_from_slice(&collected(b"inner"));
            buffer.extend_from_slice(b">");
            Ok::<_, Infallible>(())
        });
        assert_eq!(outer.unwrap(), "<inner>");
    }

    #[test]
    fn what_failed_leaves_nothing_behind() {
        let failed = collect(|buffer| {
            buffer.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(collected(b"whole"), "whole");
    }
}
