//! One end of a connection to the proxy, and all that went over it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// One end of a connection. Nothing here waits.
#[derive(Debug)]
pub(super) struct Peer {
    /// `None`: closed from this end.
    stream: Option<TcpStream>,
    waiting: Vec<u8>,
    finishes: bool,
    /// What went out.
    pub(super) sent: Vec<u8>,
    /// What came.
    pub(super) received: Vec<u8>,
    /// Whether nothing more can come.
    pub(super) has_ended: bool,
}

impl Peer {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let (waiting, sent, received) = Default::default();
        Ok(Self { stream: Some(stream), waiting, finishes: false, sent, received, has_ended: false })
    }

    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some() && !self.has_ended
    }

    /// Sends as soon as the other end takes it.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if !self.finishes {
            self.waiting.extend_from_slice(bytes);
            self.pump();
        }
    }

    /// Half-closes once all has gone out.
    pub(super) fn finish(&mut self) {
        self.finishes = true;
        self.pump();
    }

    /// Half-closes now; what has not gone out never will.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
        self.finish();
    }

    pub(super) fn close(&mut self) {
        self.stream = None;
        self.has_ended = true;
    }

    pub(super) fn reset(&mut self) {
        if let Some(stream) = &self.stream {
            // Fails only on a socket that is gone already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.close();
    }

    /// Moves what can be moved, both ways; whether anything came.
    pub(super) fn pump(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        while !self.waiting.is_empty() {
            match stream.write(&self.waiting) {
                Ok(count) => self.sent.extend(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The other end is gone, which the next read tells.
                Err(_) => self.waiting.clear(),
            }
        }
        if self.finishes && self.waiting.is_empty() {
            // It may be gone, or finished already.
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut has_come = false;
        let mut space = [0; 16 * 1024];
        while !self.has_ended {
            match stream.read(&mut space) {
                Ok(count @ 1..) => self.received.extend_from_slice(&space[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => self.has_ended = true,
            }
            has_come = true;
        }
        has_come
    }
}
