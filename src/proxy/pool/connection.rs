//! A connection to a replica while an exchange has it.

use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Fate, Idle, Shelf, ack};
use crate::replica::Replica;

/// How long a connect or an answer may take, of a request that could go elsewhere, before it is asked whether the replica's
/// host is there at all. A probe tells, too, but its interval may be long.
pub(in crate::proxy) const PATIENCE: Duration = Duration::from_millis(500);
/// How long the kernel may go on sending again what is not acknowledged once patience is lost. It begins 0.2 s after the
/// request, so that a replica which cannot be reached is left after some 0.7 s.
pub(super) const SILENCE: Duration = Duration::from_millis(500);
/// After how long without a word from the other end its kernel is asked whether it is there (TCP keep-alive). That takes no
/// new connection, for which a busy replica might have no room.
pub(super) const QUESTION: Duration = Duration::from_secs(1);
/// From the request to the look whether that was answered: its acknowledgement may take 40 ms, and the rest is for the way.
pub(in crate::proxy) const PRESENCE: Duration = Duration::from_millis(1_200);

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

    /// Whether the replica's host has not answered the question whether it is there, [`PRESENCE`] after the request. Some had
    /// acknowledged the request before they were gone, or cut off. Needs [`Connection::lose_patience`].
    #[cold]
    pub(in crate::proxy) fn is_host_gone(&self) -> bool {
        ack::is_gone(&self.stream, QUESTION)
    }

    /// Asks the replica's host no more whether it is there: the answer to one of many questions may be lost.
    #[cold]
    pub(in crate::proxy) fn ask_no_more(&self) {
        // Fails on a socket that has no such option: then it was not asked.
        let _ = SockRef::from(&self.stream).set_keepalive(false);
    }

    /// Notes that the replica's host is silent, for those who would connect to it in the next [`LATELY`](super::LATELY).
    pub(in crate::proxy) fn note_silence(&self, now: Instant) {
        self.shelf.silent_at.set(Some(now));
    }

    /// Whether [`Connection::lose_patience`] was called, and was not taken back.
    #[inline]
    pub(in crate::proxy) fn is_impatient(&self) -> bool {
        self.is_impatient
    }

    /// From now on the connection fails if what was sent is not acknowledged for [`SILENCE`], and its host is asked whether it
    /// is there. A kernel that can be reached answers both at once, however long its replica takes, or if it is paused.
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
        let socket = SockRef::from(&self.stream);
        // Fails on a socket that has no such option: then it waits for as long as it always did.
        let _ = socket.set_tcp_user_timeout(limit);
        let _ = match limit {
            Some(_) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUESTION).with_interval(QUESTION)),
            None => socket.set_keepalive(false),
        };
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
        shelf.silent_at.set(None);
        if !shelf.is_closed.get() && !replica.is_draining() {
            let mut idle = shelf.idle.borrow_mut();
            if idle.len() >= shelf.room {
                idle.pop_front();
            }
            idle.push_back(Idle { stream: self.stream, since: now });
        }
    }
}
