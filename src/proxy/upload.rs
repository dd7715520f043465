//! The way of a request: its head and the bytes behind it at once, then the rest of its body as it comes.
//!
//! While the request may have to be sent again its bytes stay in the client's buffer, and `at` is how far they went
//! out. Otherwise they are dropped as they go, and what of a long body follows passes through the worker's scratch space.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;

use super::body::Body;
use super::buffers::MAX_KEPT;
use super::connection::Client;
use super::desk::{Desk, Reach};
use super::failure::Failure;
use super::outbox::{Outbox, Piece, poll_read};
use super::request::Request;

/// One request on its way to one replica.
#[derive(Debug)]
pub(super) struct Upload {
    body: Body,
    /// Where in the client's buffer the bytes begin that have not gone out.
    at: usize,
    /// Whether the client's buffer keeps what went out.
    keeps: bool,
    /// How long the buffer may become, or how much may be skipped.
    limit: usize,
    keeps_trailers: bool,
    outbox: Outbox,
    reach: Reach,
    /// The replica takes no more; what it answers tells why.
    is_broken: bool,
    /// Whether any byte of the body has come.
    has_begun: bool,
    is_malformed: bool,
}

impl Upload {
    /// The way of `request`, which is kept for another attempt if `keeps`, its body only if it is short.
    pub(super) fn new(request: &Request, keeps: bool) -> Self {
        let body = Body::from(request.body);
        let is_short = !matches!(body, Body::Length(length) if length > MAX_KEPT as u64);
        Self {
            body,
            at: request.length,
            keeps: keeps && is_short,
            limit: request.length + MAX_KEPT,
            keeps_trailers: request.keeps_trailers,
            outbox: Outbox::default(),
            reach: Reach::default(),
            is_broken: false,
            has_begun: false,
            is_malformed: false,
        }
    }

    /// Whether the whole request went out.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_done() && self.outbox.is_empty()
    }

    /// Whether nothing more will go out.
    pub(super) fn is_over(&self) -> bool {
        self.is_broken || self.is_done()
    }

    /// Whether it is the replica's turn to take something.
    pub(super) fn waits_for_replica(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether any byte of the body has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Whether the client's buffer still has the whole request.
    pub(super) fn is_replayable(&self) -> bool {
        self.keeps
    }

    /// Sends the head that is on the desk with what is there of the body. An error means that the replica took nothing,
    /// and nothing of the request is lost.
    pub(super) fn begin(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        replica: &mut TcpStream,
    ) -> Result<(), Failure> {
        match self.send_buffered(cx, desk, client, replica) {
            Ok(()) if self.keeps => {
                if self.body.is_done() {
                    client.settle();
                }
                Ok(())
            }
            Ok(()) => {
                client.consume(self.at);
                self.at = 0;
                Ok(())
            }
            Err(Sending::Refused) => Err(Failure::Unsent),
            Err(Sending::Failed(failure)) => Err(failure),
        }
    }

    /// Moves what can be moved; whether anything was.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        replica: &mut TcpStream,
    ) -> Result<bool, Failure> {
        let mut has_moved = false;
        while !self.is_broken {
            let (moved, flushed) = self.outbox.poll_flush(cx, replica);
            has_moved |= moved > 0;
            match flushed {
                Poll::Ready(Ok(())) if self.body.is_done() => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    self.is_broken = true;
                    break;
                }
                Poll::Pending => break,
            }
            match self.feed(cx, desk, client, replica) {
                Ok(Poll::Ready(())) => has_moved = true,
                Ok(Poll::Pending) => break,
                Err(Sending::Refused) => self.is_broken = true,
                Err(Sending::Failed(failure)) => return Err(failure),
            }
        }
        Ok(has_moved)
    }

    /// Sends the next piece, from the client's buffer or its socket.
    fn feed(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        replica: &mut TcpStream,
    ) -> Result<Poll<()>, Sending> {
        if client.buffered().len() > self.at {
            desk.heads.out.clear();
            self.send_buffered(cx, desk, client, replica)?;
            if !self.keeps {
                client.consume(self.at);
                self.at = 0;
            }
            return Ok(Poll::Ready(()));
        }
        let read = match &self.body {
            Body::Length(left) if !self.keeps => {
                let (_, space) = desk.split(self.reach, *left);
                let read = poll_read(cx, client.stream(), space);
                if let Poll::Ready(Ok(count @ 1..)) = read {
                    let data = space.get_mut(..count).unwrap_or_default();
                    self.body.take(data);
                    self.has_begun = true;
                    self.outbox.send_bytes(cx, replica, data)?;
                    self.reach.note(self.outbox.is_empty());
                }
                read
            }
            _ => self.fill(cx, client),
        };
        match read {
            Poll::Ready(Ok(0)) => Err(Sending::Failed(Failure::ClientBrokeOff)),
            Poll::Ready(Ok(_)) => Ok(Poll::Ready(())),
            Poll::Ready(Err(error)) => Err(Sending::Failed(Failure::ClientGone(error))),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Reads into the client's buffer. A body that becomes too long to be kept is kept no more.
    fn fill(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Poll<io::Result<usize>> {
        if self.keeps && client.is_full() && !client.grow(self.limit) {
            self.keeps = false;
            client.consume(self.at);
            self.at = 0;
        }
        client.poll_fill(cx)
    }

    /// Sends what the client's buffer has of the body, behind the head that is on the desk, if any.
    fn send_buffered(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        replica: &mut TcpStream,
    ) -> Result<(), Sending> {
        let input = client.buffered().get(self.at..).unwrap_or_default();
        if self.body.is_done() {
            self.outbox.send_bytes(cx, replica, &desk.heads.out)?;
            return Ok(());
        }
        if let Body::Length(left) = self.body {
            let count = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let data = input.get(..count).unwrap_or_default();
            self.outbox.send(
                cx,
                replica,
                &mut desk.heads.out,
                &Piece { data, is_chunked: false, end: None, is_last: false },
            )?;
            self.body = Body::Length(left - count as u64);
            self.at += count;
            self.has_begun |= count > 0;
            return Ok(());
        }
        let (heads, input) = desk.copy(input);
        let taken = self.body.take(input);
        if let Some(reason) = taken.error {
            return Err(Sending::Failed(Failure::ClientBody(reason)));
        }
        let trailers = if self.keeps_trailers { self.body.trailers() } else { &[] };
        let end = self.body.is_done().then_some(trailers);
        let data = input.get(taken.data).unwrap_or_default();
        self.outbox.send(cx, replica, &mut heads.out, &Piece { data, is_chunked: true, end, is_last: false })?;
        self.at += taken.consumed;
        self.has_begun |= taken.consumed > 0;
        Ok(())
    }

    /// Takes what is there of the rest of the request without sending it; whether that was all of it, so that another
    /// request may follow. Nothing more can be sent after it.
    pub(super) fn skip_buffered(&mut self, desk: &mut Desk, client: &mut Client) -> bool {
        self.keeps = false;
        client.consume(std::mem::take(&mut self.at));
        while !self.is_malformed && !self.body.is_done() && !client.buffered().is_empty() {
            let taken = self.body.take(desk.copy(client.buffered()).1);
            client.consume(taken.consumed);
            self.is_malformed = taken.error.is_some();
        }
        self.body.is_done()
    }

    /// Reads the rest of the request, if it is short, without sending it; whether that was all of it.
    pub(super) fn poll_skip(&mut self, cx: &mut Context<'_>, desk: &mut Desk, client: &mut Client) -> Poll<bool> {
        loop {
            if self.skip_buffered(desk, client) {
                return Poll::Ready(true);
            }
            if self.is_malformed || self.limit == 0 {
                return Poll::Ready(false);
            }
            match ready!(client.poll_fill(cx)) {
                Ok(count @ 1..) => self.limit = self.limit.saturating_sub(count),
                _ => return Poll::Ready(false),
            }
        }
    }
}

/// Why bytes did not go out.
#[derive(Debug)]
enum Sending {
    /// The replica does not take them; what it answers, if anything, tells why.
    Refused,
    /// They are not to go out.
    Failed(Failure),
}

impl From<io::Error> for Sending {
    fn from(_: io::Error) -> Self {
        Self::Refused
    }
}
