//! The sockets under hyper, with the two limits that hyper does not keep: how long a read may wait, which depends on
//! what the connection is doing, and how long a write may make no progress.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::timer::IdleTimer;

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
}

/// What is known about a connection outside of hyper. Atomics only because hyper wants its sockets `Send`.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity {
    doing: Arc<AtomicU8>,
    bytes_read: Arc<AtomicU64>,
}

impl Activity {
    /// Bytes read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Marks an exchange until the guard is dropped.
    pub(super) fn begin_exchange(&self) -> Exchange {
        self.set(Doing::Exchange);
        Exchange(self.clone())
    }

    /// Whether an exchange is under way.
    pub(super) fn is_in_exchange(&self) -> bool {
        self.doing.load(Ordering::Relaxed) == Doing::Exchange as u8
    }

    fn set(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// Records bytes read, and whether they begin a new head.
    fn note_read(&self, count: usize) -> bool {
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        let begins_head = self.doing.load(Ordering::Relaxed) == Doing::Idle as u8;
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
    writing: IdleTimer,
}

impl WatchedStream {
    /// A client's stream.
    pub(super) fn to_client(stream: TcpStream, activity: Activity, limits: Limits) -> Self {
        Self { stream, activity, limits, reading: IdleTimer::default(), writing: IdleTimer::default() }
    }

    /// A replica's stream: reads wait for as long as the exchange's own timers let them.
    pub(super) fn to_replica(stream: TcpStream, activity: Activity, write: Duration) -> Self {
        let limits = Limits { head: Duration::MAX, idle: Duration::MAX, write };
        Self::to_client(stream, activity, limits)
    }

    fn poll_read_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let doing = self.activity.doing.load(Ordering::Relaxed);
        let limit = match doing {
            x if x == Doing::Head as u8 => self.limits.head,
            x if x == Doing::Idle as u8 => self.limits.idle,
            _ => Duration::MAX,
        };
        if limit == Duration::MAX {
            self.reading.progress();
            return Poll::Pending;
        }
        self.reading.poll_expired(cx, limit).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn watch_write(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.writing.progress();
            return outcome;
        }
        self.writing.poll_expired(cx, self.limits.write).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
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
