//! Pipes by which the kernel moves long bodies from one socket to another without copying them.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How many pipes a worker has, of two descriptors each. Who finds none copies, as does whoever stopped taking what was in
/// one, once it is empty.
pub(super) const MAX_PIPES: usize = 16;

/// How much room a pipe has at least, in bytes, if each of its pages is full: over the loopback interface; where packets are
/// short, each has a page of its own. With what the kernel gives by default, mostly a quarter of that, a mebibyte costs 1.6 times
/// as much. No more is moved at once.
pub(super) const ROOM: usize = 256 * 1024;

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// A worker's pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    empty: Vec<Pipe>,
    /// Each pipe has a share, empty or not.
    share: Rc<()>,
    /// This kernel, or what confines us, does not do it.
    is_unsupported: bool,
}

/// A pipe, and what is in it; lent until that went out.
#[derive(Debug)]
pub(super) struct Pipe {
    from: OwnedFd,
    into: OwnedFd,
    held: usize,
    _share: Rc<()>,
}

impl Pipes {
    /// Moves what there is, up to `limit` bytes, from the socket into a pipe that is lent, which has nothing at the stream's
    /// end. `None` if it has to be copied.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        limit: usize,
    ) -> Option<Poll<io::Result<Pipe>>> {
        let mut pipe = self.lend()?;
        match pipe.poll_fill(cx, from, limit) {
            Poll::Ready(Ok(())) => return Some(Poll::Ready(Ok(pipe))),
            Poll::Ready(Err(error)) if is_unsupported(&error) => {
                self.is_unsupported = true;
                self.empty.clear();
                return None;
            }
            Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error))),
            Poll::Pending => {}
        }
        self.take_back(pipe);
        Some(Poll::Pending)
    }

    fn lend(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.empty.pop() {
            return Some(pipe);
        }
        if self.is_unsupported || self.count() >= MAX_PIPES {
            return None;
        }
        let (from, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        if fcntl_getpipe_size(&from).ok()? < ROOM {
            // A user who has many gets small ones, which would be worse than a copy.
            fcntl_setpipe_size(&from, ROOM).ok()?;
        }
        Some(Pipe { from, into, held: 0, _share: Rc::clone(&self.share) })
    }

    fn count(&self) -> usize {
        Rc::strong_count(&self.share) - 1
    }

    /// Whether one is empty.
    #[cfg(test)]
    pub(super) fn has_spare(&self) -> bool {
        !self.empty.is_empty()
    }

    /// Takes a pipe back; one that is not empty is closed.
    pub(super) fn take_back(&mut self, pipe: Pipe) {
        if pipe.held == 0 {
            self.empty.push(pipe);
        }
    }
}

impl Pipe {
    /// How much is in it, in bytes.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, from: &TcpStream, limit: usize) -> Poll<io::Result<()>> {
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || Ok(splice(from, None, &self.into, None, limit, FLAGS)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => {
                    self.held = outcome?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Moves what is in the pipe to the socket: how much, and ready when the pipe is empty.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> (usize, Poll<io::Result<()>>) {
        let before = self.held;
        let drained = loop {
            if self.held == 0 {
                break Poll::Ready(Ok(()));
            }
            match to.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => {}
                not_ready => break not_ready,
            }
            match to.try_io(Interest::WRITABLE, || Ok(splice(&self.from, None, to, None, self.held, FLAGS)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => break Poll::Ready(Err(error)),
                Ok(count) => self.held = self.held.saturating_sub(count),
            }
        };
        (before - self.held, drained)
    }
}

/// Whether an error is about moving between sockets and pipes as such: nothing was moved, and nothing ever will be.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::future::poll_fn;
    use std::io::{Read, Write};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::proxy::tests::support::pair;

    async fn fill(pipe: &mut Pipe, from: &TcpStream, limit: usize) -> usize {
        poll_fn(|cx| pipe.poll_fill(cx, from, limit)).await.unwrap();
        pipe.held
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_up_to_the_limit_and_the_end_is_told() {
        let ((mut replica, from), (to, mut client)) = (pair().await, pair().await);
        let mut pipe = Pipes::default().lend().unwrap();
        replica.write_all(b"hello, and more").await.unwrap();
        assert_eq!(fill(&mut pipe, &from, 5).await, 5);
        let (moved, drained) = poll_fn(|cx| Poll::Ready(pipe.poll_drain(cx, &to))).await;
        assert!(moved == 5 && matches!(drained, Poll::Ready(Ok(()))));
        let mut got = [0; 5];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");

        drop(replica);
        assert_eq!(fill(&mut pipe, &from, 100).await, 10);
        pipe.held = 0;
        assert_eq!(fill(&mut pipe, &from, 100).await, 0);
    }

    #[tokio::test]
    async fn what_the_client_does_not_take_waits_in_the_pipe_in_order() {
        let ((replica, from), (to, client)) = (pair().await, pair().await);
        let bytes: Vec<u8> = (0..251).cycle().take(16 << 20).collect();
        let (mut replica, client) = (replica.into_std().unwrap(), client.into_std().unwrap());
        replica.set_nonblocking(false).unwrap();
        client.set_nonblocking(false).unwrap();
        let sent = bytes.clone();
        let sending = std::thread::spawn(move || replica.write_all(&sent).unwrap());
        let mut pipe = Pipes::default().lend().unwrap();
        let (mut reading, mut moved, mut was_stuck) = (None, 0, false);
        while moved < bytes.len() {
            let count = fill(&mut pipe, &from, 256 << 10).await;
            assert_ne!(count, 0);
            let mut drained = poll_fn(|cx| Poll::Ready(pipe.poll_drain(cx, &to).1)).await;
            if drained.is_pending() {
                was_stuck = true;
                assert!(pipe.held > 0);
                // Nobody has read so far.
                let all = bytes.len();
                reading.get_or_insert_with(|| {
                    let mut client = client.try_clone().unwrap();
                    std::thread::spawn(move || {
                        let mut got = vec![0; all];
                        client.read_exact(&mut got).unwrap();
                        got
                    })
                });
                drained = Poll::Ready(poll_fn(|cx| pipe.poll_drain(cx, &to).1).await);
            }
            assert!(matches!(drained, Poll::Ready(Ok(()))));
            moved += count;
        }
        sending.join().unwrap();
        assert!(was_stuck && reading.unwrap().join().unwrap() == bytes);
        client.shutdown(std::net::Shutdown::Both).unwrap();
    }

    #[test]
    fn there_are_so_many_and_those_that_are_closed_are_replaced() {
        let mut pipes = Pipes::default();
        let mut lent: Vec<_> = (0..MAX_PIPES).map(|_| pipes.lend().unwrap()).collect();
        assert!(pipes.lend().is_none());
        pipes.take_back(lent.pop().unwrap());
        lent.push(pipes.lend().unwrap());
        assert!(pipes.lend().is_none());
        let mut full = lent.pop().unwrap();
        full.held = 1;
        pipes.take_back(full);
        lent.push(pipes.lend().unwrap());
        assert!(pipes.empty.is_empty() && pipes.lend().is_none());
        lent.clear();
        assert_eq!(pipes.count(), 0);
    }

    #[tokio::test]
    async fn a_kernel_that_cannot_is_told_from_a_connection_that_failed() {
        let (replica, from) = pair().await;
        let mut pipes = Pipes::default();
        let nothing = poll_fn(|cx| Poll::Ready(pipes.poll_fill(cx, &from, 1))).await;
        assert!(matches!(nothing, Some(Poll::Pending)) && pipes.empty.len() == 1);
        socket2::SockRef::from(&replica).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(replica);
        from.readable().await.unwrap();
        let failed = poll_fn(|cx| Poll::Ready(pipes.poll_fill(cx, &from, 1))).await;
        assert!(matches!(failed, Some(Poll::Ready(Err(_)))) && !pipes.is_unsupported);

        let (mut replica, from) = pair().await;
        replica.write_all(b"x").await.unwrap();
        from.readable().await.unwrap();
        let mut pipe = pipes.lend().unwrap();
        // Neither end is a pipe then.
        pipe.into = File::options().write(true).open("/dev/null").unwrap().into();
        pipes.take_back(pipe);
        assert!(poll_fn(|cx| Poll::Ready(pipes.poll_fill(cx, &from, 1))).await.is_none());
        assert!(pipes.lend().is_none() && pipes.count() == 0);
    }
}
