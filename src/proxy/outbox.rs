//! Bytes on their way out: written at once as far as the socket takes them, the rest kept until it takes more.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::http1::chunked::{CHUNK_END, ChunkHeader, LAST_CHUNK, write_end};

/// Up to so many bytes of data are copied behind their head: one plain write of that costs less than a vectored one.
const MAX_COPIED: usize = 4 * 1024;

/// Reads what is there; 0 at the stream's end. `into` must not be empty.
pub(super) fn poll_read(cx: &mut Context<'_>, stream: &TcpStream, into: &mut [u8]) -> Poll<io::Result<usize>> {
    let room = into.len();
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let read = || recv(stream, &mut *into, RecvFlags::empty()).map(|(count, _)| count);
        match attempt(stream, Interest::READABLE, room, read) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

/// Makes a `call`, and tells the runtime if it moved less than was `wanted`: nothing more can be moved until the kernel
/// says so. The call is not the C library's, since a thread can be cancelled in that one, for which glibc 2.36 takes two
/// locked instructions more.
#[inline(always)]
fn attempt(
    stream: &TcpStream,
    interest: Interest,
    wanted: usize,
    call: impl FnOnce() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    let mut moved = 0;
    let outcome = stream.try_io(interest, || {
        moved = call()?;
        if 0 < moved && moved < wanted { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match outcome {
        Err(error) if moved == 0 => Err(error),
        _ => Ok(moved),
    }
}

/// A piece of a body as it goes out.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The data, maybe empty.
    pub(super) data: &'a [u8],
    /// Whether the body goes out in chunks.
    pub(super) is_chunked: bool,
    /// If this is the last piece, the trailers, maybe none.
    pub(super) end: Option<&'a [u8]>,
    /// Whether the stream is shut down right behind it.
    pub(super) is_last: bool,
}

/// What a socket has not taken yet. Whoever fills it waits until it is empty before reading more, so it holds no more
/// than one piece.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Something to be sent.
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }

    /// Whether the socket has taken everything.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Sends what waits; ready when all of it went out. How much did.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> (usize, Poll<io::Result<()>>) {
        let before = self.sent;
        while let Some(left) = self.bytes.get(self.sent..).filter(|left| !left.is_empty()) {
            match poll_write(cx, stream, &[IoSlice::new(left)], false) {
                Poll::Ready(Ok(0)) => return (self.sent - before, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(Ok(count)) => self.sent += count,
                Poll::Ready(Err(error)) => return (self.sent - before, Poll::Ready(Err(error))),
                Poll::Pending => return (self.sent - before, Poll::Pending),
            }
        }
        let moved = self.sent - before;
        *self = Self::default();
        (moved, Poll::Ready(Ok(())))
    }

    /// Sends the head that is in `out`, if any, and the first piece of what follows it, and keeps what the socket does
    /// not take. An error means that it took nothing. What `out` holds afterwards means nothing.
    pub(super) fn send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        out: &mut Vec<u8>,
        piece: &Piece<'_>,
    ) -> io::Result<()> {
        let size = (piece.is_chunked && !piece.data.is_empty()).then(|| ChunkHeader::new(piece.data.len() as u64));
        let (before, after): (&[u8], &[u8]) = size.as_ref().map_or((b"", b""), |size| (size.as_bytes(), CHUNK_END));
        let mut ending = Vec::new();
        let end = match piece.end {
            Some(_) if !piece.is_chunked => b"",
            Some([]) => LAST_CHUNK,
            Some(trailers) => {
                write_end(&mut ending, trailers);
                &ending
            }
            None => b"",
        };
        let parts = [before, piece.data, after, end];
        if piece.data.len() > MAX_COPIED {
            let [before, data, after, end] = parts;
            return self.send_parts(cx, stream, &mut [out, before, data, after, end].map(IoSlice::new), piece.is_last);
        }
        parts.iter().for_each(|part| out.extend_from_slice(part));
        self.send_parts(cx, stream, &mut [IoSlice::new(out)], piece.is_last)
    }

    /// Sends plain bytes like [`Outbox::send`].
    pub(super) fn send_bytes(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        self.send_parts(cx, stream, &mut [IoSlice::new(bytes)], false)
    }

    fn send_parts(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        mut parts: &mut [IoSlice<'_>],
        is_last: bool,
    ) -> io::Result<()> {
        let mut took_any = false;
        IoSlice::advance_slices(&mut parts, 0);
        while self.is_empty() && !parts.is_empty() {
            match poll_write(cx, stream, parts, is_last) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    took_any = true;
                    IoSlice::advance_slices(&mut parts, count);
                }
                Poll::Ready(Err(error)) if !took_any => return Err(error),
                // The next flush will say what is wrong.
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        Ok(())
    }
}

/// Writes what the socket takes. If it `is_last`, the kernel keeps it until the stream's end, and sends both in one packet.
#[inline(always)]
fn poll_write(
    cx: &mut Context<'_>,
    stream: &TcpStream,
    parts: &[IoSlice<'_>],
    is_last: bool,
) -> Poll<io::Result<usize>> {
    let flags = if is_last { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
    let wanted = parts.iter().map(|part| part.len()).sum();
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let write = || match parts {
            [bytes] => send(stream, bytes, flags),
            parts => sendmsg(stream, parts, &mut SendAncillaryBuffer::default(), flags),
        };
        match attempt(stream, Interest::WRITABLE, wanted, write) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::tests::support::pair;
    use std::future::poll_fn;
    use std::io::Read;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn reads_what_is_there_and_waits_for_what_is_not() {
        let (input, mut other) = pair().await;
        let mut into = [0; 4];
        other.write_all(b"123456").await.unwrap();
        for expected in [&b"1234"[..], b"56"] {
            let count = poll_fn(|cx| poll_read(cx, &input, &mut into)).await.unwrap();
            assert_eq!(&into[..count], expected);
        }
        // Without a call, since the last one did not fill the room.
        assert!(input.try_io(Interest::READABLE, || Ok(())).is_err());
        assert!(poll_fn(|cx| Poll::Ready(poll_read(cx, &input, &mut into))).await.is_pending());
        other.write_all(b"7890").await.unwrap();
        assert_eq!(poll_fn(|cx| poll_read(cx, &input, &mut into)).await.unwrap(), 4);
        // It filled the room, so the runtime still believes that there is more.
        assert!(poll_fn(|cx| Poll::Ready(poll_read(cx, &input, &mut into))).await.is_pending());
        other.write_all(b"!").await.unwrap();
        drop(other);
        assert_eq!(poll_fn(|cx| poll_read(cx, &input, &mut into)).await.unwrap(), 1);
        assert_eq!(poll_fn(|cx| poll_read(cx, &input, &mut into)).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn pieces_are_framed_as_they_go_out() {
        let (mut out, mut other) = pair().await;
        let mut outbox = Outbox::default();
        for (data, is_chunked, end, expected) in [
            (&b"hello"[..], false, None, "H|hello"),
            (b"hello", false, Some(&b""[..]), "H|hello"),
            (b"hello", true, None, "H|5\r\nhello\r\n"),
            (b"", true, None, "H|"),
            (b"", true, Some(b""), "H|0\r\n\r\n"),
            (b"hello", true, Some(b"x: y\r\n"), "H|5\r\nhello\r\n0\r\nx: y\r\n\r\n"),
        ] {
            let piece = Piece { data, is_chunked, end, is_last: false };
            poll_fn(|cx| Poll::Ready(outbox.send(cx, &mut out, &mut b"H|".to_vec(), &piece))).await.unwrap();
            assert!(outbox.is_empty());
            let mut got = vec![0; expected.len()];
            other.read_exact(&mut got).await.unwrap();
            assert_eq!(str::from_utf8(&got).unwrap(), expected);
        }
    }

    /// So it can be in one packet with the end.
    #[tokio::test]
    async fn the_last_piece_leaves_with_the_end() {
        for data in [&[b'x'; 100][..], &[b'x'; MAX_COPIED + 1]] {
            // The kernel keeps it for a fifth of a second and no longer, should this thread get no time.
            let mut was_kept = false;
            for _ in 0..10 {
                let (mut out, mut other) = pair().await;
                let (mut outbox, piece) =
                    (Outbox::default(), Piece { data, is_chunked: false, end: None, is_last: true });
                poll_fn(|cx| Poll::Ready(outbox.send(cx, &mut out, &mut b"H|".to_vec(), &piece))).await.unwrap();
                assert!(outbox.is_empty());
                let mut byte = [0];
                was_kept |= (&*socket2::SockRef::from(&other)).read(&mut byte).is_err();
                drop(out);
                let mut got = Vec::new();
                other.read_to_end(&mut got).await.unwrap();
                assert!(got.ends_with(data));
            }
            assert!(was_kept, "{} bytes", data.len());
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_and_goes_out_in_order() {
        let (mut out, mut other) = pair().await;
        let bytes: Vec<u8> = (0..251).cycle().take(32 << 20).collect();
        let mut outbox = Outbox::default();
        poll_fn(|cx| Poll::Ready(outbox.send_bytes(cx, &mut out, &bytes))).await.unwrap();
        assert!(!outbox.is_empty());
        let sending = poll_fn(|cx| outbox.poll_flush(cx, &mut out).1);
        let mut got = vec![0; bytes.len()];
        let (sent, read) = tokio::join!(sending, other.read_exact(&mut got));
        sent.unwrap();
        read.unwrap();
        assert!(got == bytes && outbox.is_empty());
    }

    #[tokio::test]
    async fn a_socket_that_takes_nothing_more_is_an_error() {
        let (mut out, other) = pair().await;
        socket2::SockRef::from(&other).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(other);
        out.readable().await.unwrap();
        let mut outbox = Outbox::default();
        assert!(poll_fn(|cx| Poll::Ready(outbox.send_bytes(cx, &mut out, b"x"))).await.is_err());
        assert!(outbox.is_empty());
    }
}
