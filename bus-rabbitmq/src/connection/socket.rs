//! Socket of one connection, made parseable as it is read, and shut from outside.
//!
//! The client offers no way to end a connection whose peer is silent: it reads until the heartbeat
//! fails, and closes nothing of an attempt that is dropped. So a [`SocketHandle`] outside of it
//! makes every read and write fail, after which the client releases all that it holds.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::task::AtomicWaker;

use super::frames::Frames;

/// Stream of AMQP frames whose content the client can parse.
///
/// Reads are changed by [`sanitize`](super::sanitize) at most; writes pass as they are.
pub(crate) struct Socket<S> {
    stream: S,
    handle: Arc<SocketHandle>,
    frames: Frames,
}

/// Other end of a [`Socket`]: shuts it, and counts the changed frames.
#[derive(Default)]
pub(crate) struct SocketHandle {
    shut: AtomicBool,
    /// Task of the client that waits to read.
    reader: AtomicWaker,
    /// Task of the client that waits to write.
    writer: AtomicWaker,
    /// Number of changed frames; read for every delivery, so kept apart from the map.
    sanitized: AtomicU64,
    /// Number of changed frames for each channel that had any.
    by_channel: Mutex<HashMap<u16, u64>>,
}

impl<S> Socket<S> {
    /// Wraps a stream; the handle stays with the one who may shut it.
    pub(crate) fn new(stream: S) -> (Self, Arc<SocketHandle>) {
        let handle = Arc::<SocketHandle>::default();
        let socket = Self {
            stream,
            handle: Arc::clone(&handle),
            frames: Frames::default(),
        };
        (socket, handle)
    }
}

impl SocketHandle {
    /// Ends every read and write from now on.
    ///
    /// The client, which waits for one of them, closes the socket then.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    /// Number of frames that had to be changed so far.
    pub(crate) fn sanitized(&self) -> u64 {
        self.sanitized.load(Ordering::Acquire)
    }

    /// Number of frames that had to be changed on this channel.
    pub(crate) fn sanitized_on(&self, channel: u16) -> u64 {
        let by_channel = self.by_channel();
        by_channel.get(&channel).copied().unwrap_or_default()
    }

    fn by_channel(&self) -> std::sync::MutexGuard<'_, HashMap<u16, u64>> {
        self.by_channel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the frames that were changed in the last read.
    ///
    /// It is called before the client sees their bytes, so a delivery that was changed is always
    /// counted when it is handed out.
    fn note(&self, frames: &mut Frames) {
        for channel in frames.sanitized.drain(..) {
            *self.by_channel().entry(channel).or_default() += 1;
            self.sanitized.fetch_add(1, Ordering::Release);
        }
    }

    /// Fails if the socket is shut.
    ///
    /// The waker is registered before the flag is read, so that no call of `shut` is missed.
    fn check(&self, waker: &AtomicWaker, cx: &Context<'_>) -> io::Result<()> {
        waker.register(cx.waker());
        if self.shut.load(Ordering::Acquire) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl fmt::Debug for SocketHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketHandle")
            .field("shut", &self.shut)
            .field("sanitized", &self.sanitized)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self {
            stream,
            handle,
            frames,
        } = self.get_mut();
        handle.check(&handle.reader, cx)?;
        loop {
            if let Some(count) = frames.hand_out(buffer) {
                return Poll::Ready(Ok(count));
            }
            if let Some(missing) = frames.missing() {
                let count = ready!(Pin::new(&mut *stream).poll_read(cx, missing))?;
                frames.gathered(count);
            } else {
                let count = ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
                let whole = frames.inspect(&mut buffer[..count]);
                if whole > 0 || count == 0 {
                    handle.note(frames);
                    return Poll::Ready(Ok(whole));
                }
            }
            handle.note(frames);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.handle.check(&self.handle.writer, cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.handle.check(&self.handle.writer, cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.check(&self.handle.writer, cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.handle.check(&self.handle.writer, cx).is_err() {
            // Dropped by the client next, and closed with that.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::AsyncReadExt;
    use proptest::prelude::*;

    use super::*;

    /// Stream that comes in these parts.
    struct Parts(VecDeque<Vec<u8>>);

    impl AsyncRead for Parts {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let Some(mut part) = self.0.pop_front() else {
                return Poll::Ready(Ok(0));
            };
            let count = part.len().min(buffer.len());
            buffer[..count].copy_from_slice(&part[..count]);
            if count < part.len() {
                self.0.push_front(part.split_off(count));
            }
            Poll::Ready(Ok(count))
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 1];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame.push(0xce);
        frame
    }

    /// Builds a content header with this message id.
    fn header(id: &[u8]) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0x80];
        payload.push(u8::try_from(id.len()).unwrap());
        payload.extend(id);
        frame(2, &payload)
    }

    fn stream(id: &[u8]) -> Vec<u8> {
        let deliver = frame(1, &[0, 60, 0, 60, 1, b'c']);
        let body = frame(3, b"\xff\xfe\x02\x01");
        let parts = [deliver, header(id), body, frame(8, &[])];
        [parts.concat(), header(id)].concat()
    }

    /// Reads with a buffer of this size.
    ///
    /// Returns the bytes and the number of changed frames.
    fn read(bytes: &[u8], cuts: &[usize], room: usize) -> (Vec<u8>, u64) {
        let mut parts = VecDeque::new();
        let mut rest = bytes;
        for cut in cuts {
            let (part, next) = rest.split_at((*cut).min(rest.len()));
            if !part.is_empty() {
                parts.push_back(part.to_vec());
            }
            rest = next;
        }
        if !rest.is_empty() {
            parts.push_back(rest.to_vec());
        }
        let (mut socket, handle) = Socket::new(Parts(parts));
        let (mut all, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            let count = futures_util::FutureExt::now_or_never(socket.read(&mut buffer));
            match count.unwrap().unwrap() {
                0 => {
                    assert_eq!(handle.sanitized_on(1), handle.sanitized());
                    return (all, handle.sanitized());
                }
                count => all.extend(&buffer[..count]),
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_in_which_parts_a_stream_comes(
            cuts in proptest::collection::vec(1_usize..40, 0..60),
            room in 1_usize..120,
        ) {
            let (read, sanitized) = read(&stream(b"Caf\xe9"), &cuts, room);
            prop_assert_eq!(read, stream(b"Caf?"));
            prop_assert_eq!(sanitized, 2);
        }
    }

    #[test]
    fn what_is_no_frame_passes_through() {
        for bytes in [
            &b"AMQP\x00\x00\x09\x01"[..],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ] {
            assert_eq!(read(bytes, &[3, 4], 100), (bytes.to_vec(), 0));
        }
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_ends_there() {
        let bytes = stream(b"id");
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length], &[], 1000).0, &bytes[..length]);
        }
    }

    #[test]
    fn a_socket_that_is_shut_gives_nothing_more() {
        let (mut socket, handle) = Socket::new(Parts([stream(b"id")].into()));
        handle.shut();
        let outcome = futures_util::FutureExt::now_or_never(socket.read(&mut [0; 100]));
        let error = outcome.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    }
}
