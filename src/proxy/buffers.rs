//! What requests are read into: buffers that a worker lends, and that come back when they are dropped.
//!
//! A connection has one only from a request's first byte until its answer has ended, an idle connection none. Memory
//! is bounded per request in flight: one buffer of [`SIZE`], for which a short request that waits has one of [`SMALL`].
//! It grows to the limit of a head, and by [`MAX_KEPT`] for a body that may have to be sent again. Besides, in each
//! direction, there is what a side that does not read has not taken of the last piece, at most a worker's scratch space
//! (see [`Desk`](super::desk::Desk)), of which no more is read.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use std::io;
use tokio::net::TcpStream;

use super::outbox::poll_read;

/// What a buffer begins with, in bytes.
pub(super) const SIZE: usize = 16 * 1024;
/// What is enough for most requests while they wait for their answer, in bytes.
const SMALL: usize = 1024;
/// The longest body that is kept in case it has to be sent again, in bytes.
pub(super) const MAX_KEPT: usize = 64 * 1024;
/// Buffers of [`SIZE`] that a worker keeps for later; more are freed.
const MAX_FREE: usize = 256;
/// The same for [`SMALL`] ones.
const MAX_FREE_SMALL: usize = 1024;

/// The buffers of one worker that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
    small: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Lends an empty buffer.
    pub(super) fn lend(self: &Rc<Self>) -> Buffer {
        let data = self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; SIZE]);
        Buffer { data, start: 0, end: 0, home: Rc::clone(self) }
    }

    /// Lends a buffer with a copy of `bytes` in it; `None` if they are more than `limit`.
    pub(super) fn copy(self: &Rc<Self>, bytes: &[u8], limit: usize) -> Option<Buffer> {
        let mut buffer = self.lend();
        (buffer.append(bytes, limit) == bytes.len()).then_some(buffer)
    }

    /// Takes memory back.
    fn keep(&self, data: Vec<u8>) {
        let (shelf, limit) = match data.len() {
            SIZE => (&self.free, MAX_FREE),
            SMALL => (&self.small, MAX_FREE_SMALL),
            _ => return,
        };
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < limit {
            shelf.push(data);
        }
    }
}

/// Bytes that were read and not yet used up.
#[derive(Debug)]
pub(super) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    home: Rc<Buffers>,
}

impl Buffer {
    /// The bytes.
    pub(super) fn filled(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    /// The same, to be changed in place.
    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// How much memory it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.data.len()
    }

    /// Forgets the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether it takes no more bytes unless it grows.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.start == self.data.len()
    }

    /// Moves bytes that are few and will wait to less memory: so the worker's connections read into the same few
    /// buffers, which the processor has at hand, and a request that waits costs a kilobyte.
    pub(super) fn settle(&mut self) {
        let count = self.end - self.start;
        if self.data.len() == SIZE && count <= SMALL {
            let mut small = self.home.small.borrow_mut().pop().unwrap_or_else(|| vec![0; SMALL]);
            if let Some(into) = small.get_mut(..count) {
                into.copy_from_slice(self.filled());
            }
            self.home.keep(std::mem::replace(&mut self.data, small));
            (self.start, self.end) = (0, count);
        }
    }

    /// Makes room, up to `limit` bytes in all; `false` if it has these already.
    pub(super) fn grow(&mut self, limit: usize) -> bool {
        let size = self.data.len().saturating_mul(2).min(limit);
        let grows = size > self.data.len();
        if grows {
            self.data.resize(size, 0);
        }
        grows
    }

    /// Appends as much of `bytes` as there is room for once it has grown to `limit`; how much that is.
    pub(super) fn append(&mut self, bytes: &[u8], limit: usize) -> usize {
        while self.data.len() - (self.end - self.start) < bytes.len() && self.grow(limit) {}
        let room = self.room();
        let count = room.len().min(bytes.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..count), bytes.get(..count)) {
            room.copy_from_slice(bytes);
        }
        self.end += count;
        count
    }

    /// Reads what there is room for; 0 at the stream's end. It must not be full.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, stream: &mut TcpStream) -> Poll<io::Result<usize>> {
        let outcome = poll_read(cx, stream, self.room());
        if let Poll::Ready(Ok(count)) = outcome {
            self.end += count;
        }
        outcome
    }

    fn room(&mut self) -> &mut [u8] {
        if self.end == self.data.len() && self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.data.get_mut(self.end..).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.keep(std::mem::take(&mut self.data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_comes_out_in_order_while_it_moves_and_grows() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.lend();
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * SIZE).collect();
        assert_eq!(buffer.append(&bytes[..SIZE], SIZE), SIZE);
        assert!(buffer.is_full());
        buffer.consume(100);
        assert!(!buffer.is_full());
        assert_eq!(buffer.append(&bytes[SIZE..], SIZE), 100, "what was consumed makes room");
        assert_eq!(buffer.filled(), &bytes[100..SIZE + 100]);
        assert_eq!(buffer.append(&bytes[SIZE + 100..], 2 * SIZE), SIZE);
        assert_eq!(buffer.filled(), &bytes[100..2 * SIZE + 100]);
        assert!(!buffer.grow(2 * SIZE));
        buffer.consume(usize::from(u16::MAX));
        assert_eq!(buffer.filled(), b"");
    }

    #[test]
    fn buffers_come_back_empty_and_none_that_grew() {
        let buffers = Rc::new(Buffers::default());
        let (mut first, mut second) = (buffers.lend(), buffers.lend());
        first.append(b"secret", SIZE);
        assert!(second.grow(2 * SIZE));
        drop((first, second));
        assert_eq!(buffers.free.borrow().len(), 1);
        assert_eq!(buffers.lend().filled(), b"");
        let many: Vec<_> = (0..MAX_FREE + 10).map(|_| buffers.lend()).collect();
        drop(many);
        assert_eq!(buffers.free.borrow().len(), MAX_FREE);
    }

    #[test]
    fn what_waits_keeps_its_bytes_and_frees_the_large_buffer() {
        let buffers = Rc::new(Buffers::default());
        let mut buffer = buffers.lend();
        buffer.append(&[b'x'; SMALL + 100], SIZE);
        buffer.settle();
        assert_eq!(buffer.data.len(), SIZE, "they are too many");
        buffer.consume(100);
        buffer.settle();
        assert_eq!((buffer.filled(), buffer.is_full()), (&[b'x'; SMALL][..], true));
        assert_eq!(buffers.free.borrow().len(), 1);
        assert_eq!(buffer.append(b"more", SIZE), 4, "it grows again");
        assert_eq!(buffer.filled().len(), SMALL + 4);
        let mut other = buffers.lend();
        other.append(b"y", SIZE);
        other.settle();
        drop(other);
        assert_eq!((buffers.free.borrow().len(), buffers.small.borrow().len()), (1, 1));
    }
}
