//! A connection to a replica while an exchange has it.

use std::future::{Future, pending};
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Fate, Idle, Shelf, ack};
use crate::replica::Replica;

/// How long a connect or an answer may take, of a request that could go elsewhere, before it is asked whether the replica's
/// host is there at all. A probe tells, too, but its interval may be long.
pub(in crate::proxy) const PATIENCE: Duration = Duration::from_millis(500);
/// How long the kernel may go on sending again what is not acknowledged once patience is lost. It begins 0.2 s after the
/// request, so that a replica which cannot be reached is left after some 0.7 s.
pub(super) const SILENCE: Duration = Duration::from_millis(500);
/// From one look for a host to the next. The first is over by then, and has said what it saw.
const NEXT_LOOK: Duration = Duration::from_millis(550);

/// A connection to one incarnation of a replica, for one exchange.
#[derive(Debug)]
pub(in crate::proxy) struct Connection {
    /// The socket.
    pub(in crate::proxy) stream: TcpStream,
    /// Whether it has served before.
    pub(in crate::proxy) was_kept: bool,
    /// Whether the kernel gives it up when the other end is silent.
    pub(super) is_impatient: bool,
    pub(super) shelf: Rc<Shelf>,
}

impl Connection {
    /// What has become of the replica. The bell rings when that is no longer fine.
    pub(in crate::proxy) fn fate(&self) -> Fate {
        self.shelf.fate.get()
    }

    /// Whether nothing waits to be read, of which the runtime may not have heard yet.
    pub(in crate::proxy) fn is_quiet(&self) -> bool {
        let peeked = SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the replica's host should have acknowledged by now what was sent [`ARRIVAL`](super::ARRIVAL) ago, and has
    /// not.
    #[cold]
    pub(in crate::proxy) fn is_unheard(&self) -> bool {
        ack::is_overdue(&self.stream)
    }

    /// Done once a connect has found no host where the replica is; never if it finds one. A request that was acknowledged
    /// before its host was gone, or cut off, has nothing unacknowledged. All who wait for the replica share a connect, which
    /// comes to nothing, like a probe's.
    pub(in crate::proxy) fn until_host_is_gone(&self, replica: &Replica) -> impl Future<Output = ()> + use<> {
        let (shelf, addr, asked_at) = (Rc::clone(&self.shelf), replica.spec().addr, Instant::now());
        async move {
            loop {
                match shelf.seen.get() {
                    Some((at, true)) if at >= asked_at => return pending().await,
                    Some((at, false)) if at >= asked_at => return,
                    _ => {}
                }
                let next = shelf.looked_at.get().map(|at| at + NEXT_LOOK).filter(|next| *next > Instant::now());
                if let Some(next) = next {
                    sleep_until(next).await;
                    continue;
                }
                shelf.looked_at.set(Some(Instant::now()));
                // Refused is as good: somebody is there to do so.
                let is_there = timeout(PATIENCE, TcpStream::connect(addr)).await.is_ok();
                shelf.seen.set(Some((Instant::now(), is_there)));
            }
        }
    }

    /// Notes that the replica's host is silent, for those who would connect to it.
    pub(in crate::proxy) fn note_silence(&self) {
        self.shelf.is_silent.set(true);
    }

    /// Whether [`Connection::lose_patience`] was called, and was not taken back.
    #[inline]
    pub(in crate::proxy) fn is_impatient(&self) -> bool {
        self.is_impatient
    }

    /// From now on the connection fails if what was sent is not acknowledged for [`SILENCE`]. A kernel that can be reached
    /// does that at once, however long its replica takes, or if it is paused.
    pub(in crate::proxy) fn lose_patience(&mut self) {
        self.set_patience(Some(SILENCE));
    }

    /// Takes [`Connection::lose_patience`] back, if it was called.
    #[inline]
    pub(in crate::proxy) fn regain_patience(&mut self) {
        if self.is_impatient {
            self.set_patience(None);
        }
    }

    #[cold]
    fn set_patience(&mut self, limit: Option<Duration>) {
        self.is_impatient = limit.is_some();
        // Fails on a socket that has no such option: then it waits for as long as it always did.
        let _ = SockRef::from(&self.stream).set_tcp_user_timeout(limit);
    }

    /// Notes how long the replica says that it keeps an idle connection.
    pub(in crate::proxy) fn note_keep_alive(&self, timeout: Duration) {
        self.shelf.learn(timeout);
    }

    /// Gives a connection back whose answer has ended now.
    #[inline(always)]
    pub(in crate::proxy) fn give_back(mut self, replica: &Replica, now: Instant) {
        self.regain_patience();
        let shelf = &self.shelf;
        if !shelf.is_closed.get() && !replica.is_draining() {
            let mut idle = shelf.idle.borrow_mut();
            if idle.len() >= shelf.room {
                idle.pop_front();
            }
            idle.push_back(Idle { stream: self.stream, since: now });
        }
    }
}
