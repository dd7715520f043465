//! The sockets under hyper, with the limits that hyper does not keep: how long a read may wait, which depends on what
//! the connection is doing, how long a write may make no progress, and how long a client that has finished writing may
//! still want its answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::timer::IdleTimer;

/// How long a client that has finished writing is waited for. Nearly all of those are gone, which looks the same until
/// something is written to them; a few only half-close, and get what comes within this time.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// What a client connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Doing {
    /// A request's head is expected or under way.
    Head,
    /// Between two requests.
    Idle,
    /// From a request's head to the end of its answer: other timers watch.
    Exchange,
    /// An exchange that became a tunnel, which ends each way by itself.
    Tunnel,
}

/// What is known about a connection outside of hyper. Atomics only because hyper wants its sockets `Send`.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    doing: AtomicU8,
    bytes_read: AtomicU64,
    /// Who is to be told when the exchange ends.
    at_end: AtomicWaker,
}

impl Activity {
    /// Bytes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.0.bytes_read.load(Ordering::Relaxed)
    }

    /// Marks an exchange until the guard is dropped.
    pub(super) fn begin_exchange(&self) -> Exchange {
        self.set(Doing::Exchange);
        Exchange(self.clone())
    }

    /// Marks the exchange under way as a tunnel, until its guard is dropped.
    pub(super) fn become_tunnel(&self) {
        self.set(Doing::Tunnel);
    }

    /// Whether an exchange or a tunnel is under way.
    pub(super) fn is_in_exchange(&self) -> bool {
        matches!(self.doing(), Doing::Exchange | Doing::Tunnel)
    }

    fn doing(&self) -> Doing {
        match self.0.doing.load(Ordering::Relaxed) {
            x if x == Doing::Head as u8 => Doing::Head,
            x if x == Doing::Idle as u8 => Doing::Idle,
            x if x == Doing::Exchange as u8 => Doing::Exchange,
            _ => Doing::Tunnel,
        }
    }

    fn set(&self, doing: Doing) {
        self.0.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// Records bytes read, and whether they begin a new head.
    fn note_read(&self, count: usize) -> bool {
        self.0.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        let begins_head = self.doing() == Doing::Idle;
        if begins_head {
            self.set(Doing::Head);
        }
        begins_head
    }
}

/// One request and its answer: the client connection is idle again once this is dropped.
#[derive(Debug)]
pub(super) struct Exchange(Activity);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.set(Doing::Idle);
        self.0.0.at_end.wake();
    }
}

/// How long the reads and writes of a stream may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For a whole head, from its first byte; for the first head, from the accept.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For a write to take any byte.
    pub(super) write: Duration,
}

/// A TCP stream under these limits.
#[derive(Debug)]
pub(super) struct WatchedStream {
    stream: TcpStream,
    activity: Activity,
    limits: Limits,
    reading: IdleTimer,
    /// What `reading` waits in.
    waits_in: Doing,
    writing: IdleTimer,
    /// Whether the other end has finished writing.
    is_ended: bool,
    /// Whether it has taken anything since: then a reset tells whether it is gone.
    takes_more: bool,
}

impl WatchedStream {
    /// A client's stream.
    pub(super) fn to_client(stream: TcpStream, activity: Activity, limits: Limits) -> Self {
        let (reading, writing) = (IdleTimer::default(), IdleTimer::default());
        Self { stream, activity, limits, reading, waits_in: Doing::Head, writing, is_ended: false, takes_more: false }
    }

    /// A replica's stream: reads wait for as long as the exchange's own timers let them.
    pub(super) fn to_replica(stream: TcpStream, activity: Activity, write: Duration) -> Self {
        let limits = Limits { head: Duration::MAX, idle: Duration::MAX, write };
        Self::to_client(stream, activity, limits)
    }

    fn poll_read_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let doing = self.activity.doing();
        if doing != self.waits_in {
            self.waits_in = doing;
            self.reading.progress();
        }
        let limit = match doing {
            Doing::Head => self.limits.head,
            Doing::Idle => self.limits.idle,
            // hyper does not ask again when the exchange ends, so we look now and then; a wait that begins with such a
            // look is up to a quarter longer.
            Doing::Exchange => {
                while self.reading.poll_expired(cx, self.limits.idle / 4).is_ready() {
                    self.reading.progress();
                }
                return Poll::Pending;
            }
            Doing::Tunnel => return Poll::Pending,
        };
        self.reading.poll_expired(cx, limit).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The end of what the other side writes. In an exchange hyper takes it for the end of everything, so it is told
    /// only once nobody can be expected to wait for the answer.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.0.at_end.register(cx.waker());
        match self.activity.doing() {
            Doing::Exchange if self.takes_more => Poll::Pending,
            Doing::Exchange => self.reading.poll_expired(cx, GONE_AFTER).map(Ok),
            Doing::Head | Doing::Idle | Doing::Tunnel => Poll::Ready(Ok(())),
        }
    }

    fn watch_write(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.takes_more = self.is_ended;
            self.writing.progress();
            return outcome;
        }
        self.writing.poll_expired(cx, self.limits.write).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_ended {
            return self.poll_end(cx);
        }
        let (before, room) = (buf.filled().len(), buf.remaining());
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() == before && room > 0 => {
                self.is_ended = true;
                self.reading.progress();
                self.poll_end(cx)
            }
            Poll::Ready(Ok(())) => {
                if self.activity.note_read(buf.filled().len() - before) {
                    self.reading.progress();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_read_overdue(cx),
        }
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
