//! The way of an answer: interim answers as they come, then the head and the bytes behind it at once, then the rest of
//! its body.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::body::Body;
use super::buffers::Buffer;
use super::connection::Client;
use super::desk::{Desk, Heads};
use super::failure::{Failure, Unanswered};
use super::http1::framing::{self, ResponseBody, ResponseFraming};
use super::http1::name::Name;
use super::http1::rewrite::{Answer, write_interim, write_response};
use super::http1::{Parsed, ResponseHead, ResponseScan, Version};
use super::outbox::{Outbox, Piece, poll_read};
use super::outlet::Outlet;
use super::pool::Connection;
use super::relay::Asked;

/// One answer on its way to the client.
#[derive(Debug, Default)]
pub(super) struct Download {
    scan: ResponseScan,
    /// A head that came in pieces, so far.
    pieces: Option<Buffer>,
    /// Whether any byte came.
    has_begun: bool,
    /// Whether an interim answer was passed on.
    has_interim: bool,
    answer: Option<Begun>,
    /// When the whole request had gone out.
    asked_at: Option<Instant>,
    outlet: Outlet,
}

/// An answer whose head was passed on.
#[derive(Debug)]
struct Begun {
    status: u16,
    /// When its head came.
    at: Instant,
    body: Body,
    towards: ResponseBody,
    /// Whether the client was told that its connection is kept.
    keeps_alive: bool,
    /// Whether the replica's connection may be used again.
    persists: bool,
    /// Whether its trailers may pass.
    passes_trailers: bool,
    /// What came behind a `101`.
    surplus: Vec<u8>,
}

impl Download {
    /// An answer of which nothing has come.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The status that the client was told, once it was.
    pub(super) fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// How long the answer's head took from the request's end, or has taken by now; `None` if the request has not ended.
    pub(super) fn latency(&self, now: Instant) -> Option<Duration> {
        let end = self.answer.as_ref().map_or(now, |answer| answer.at);
        self.asked_at.map(|asked_at| end.saturating_duration_since(asked_at))
    }

    /// Whether an interim answer was passed on.
    pub(super) fn has_interim(&self) -> bool {
        self.has_interim
    }

    /// Whether it is the client's turn to take something.
    pub(super) fn waits_for_client(&self) -> bool {
        !self.outlet.is_empty()
    }

    /// Whether all of the answer has come, be it that the client has not taken all of it.
    pub(super) fn is_whole(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.body.is_done())
    }

    /// Whether the client was told that its connection is kept.
    pub(super) fn keeps_alive(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.keeps_alive)
    }

    /// Whether the replica's connection may be used again.
    pub(super) fn persists(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.persists)
    }

    /// Whether the client could take a close for the end of the answer.
    pub(super) fn ends_by_close(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.towards == ResponseBody::UntilClose)
    }

    /// What is left once the protocols are switched: bytes of the replica's that came behind its `101`, and what the
    /// client has not taken yet.
    pub(super) fn into_tunnel(self) -> (Vec<u8>, Outbox) {
        (self.answer.map(|answer| answer.surplus).unwrap_or_default(), self.outlet.outbox)
    }

    /// Moves what can be moved: whether anything was, and whether the answer has ended.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        connection: &mut Connection,
        asked: &Asked<'_>,
    ) -> Result<(bool, Poll<()>), Failure> {
        let mut has_moved = false;
        if asked.is_request_done && self.asked_at.is_none() {
            self.asked_at = Some(asked.now);
        }
        loop {
            let (moved, flushed) = self.outlet.poll_flush(cx, &mut desk.pipes, client.stream());
            has_moved |= moved > 0;
            match flushed {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(Failure::ClientGone(error)),
                Poll::Pending => return Ok((has_moved, Poll::Pending)),
            }
            if self.is_whole() {
                return Ok((has_moved, Poll::Ready(())));
            }
            let read = match self.pieces.take() {
                Some(pieces) => self.read_piece(cx, desk, client, connection, asked, pieces),
                None => self.receive(cx, desk, client, connection, asked),
            };
            match read? {
                Poll::Ready(is_progress) => has_moved |= is_progress,
                Poll::Pending => return Ok((has_moved, Poll::Pending)),
            }
        }
    }

    /// Moves a piece of a long body whose length is known by a pipe, or reads what has to be looked at or copied; see
    /// [`Download::read`].
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        connection: &mut Connection,
        asked: &Asked<'_>,
    ) -> Result<Poll<bool>, Failure> {
        let left = self.answer.as_ref().map_or(0, |answer| answer.body.left());
        let Some(filled) = self.outlet.poll_fill(cx, &mut desk.pipes, &connection.stream, left) else {
            return self.read(cx, desk, client, connection, asked);
        };
        match (filled, &mut self.answer) {
            (Poll::Ready(Ok(count)), Some(answer)) if count > 0 => {
                // What comes behind its end, which was not asked for, is found when the connection is to be used again.
                answer.body.pass(count as u64);
                Ok(Poll::Ready(true))
            }
            (Poll::Ready(Ok(_)), _) => Err(self.closed("it ended".to_owned())),
            (Poll::Ready(Err(error)), _) => Err(self.closed(error.to_string())),
            (Poll::Pending, _) => Ok(Poll::Pending),
        }
    }

    /// Reads into the scratch space and passes on what came, if that was anything: a part of a head is no progress.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        connection: &mut Connection,
        asked: &Asked<'_>,
    ) -> Result<Poll<bool>, Failure> {
        let (heads, space) = desk.split(self.outlet.reach(), u64::MAX);
        let count = match poll_read(cx, &connection.stream, space) {
            Poll::Ready(Ok(0)) => return self.end(cx, client).map(|()| Poll::Ready(true)),
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(error)) => return Err(self.closed(error.to_string())),
            Poll::Pending => return Ok(Poll::Pending),
        };
        let input = space.get_mut(..count).unwrap_or_default();
        self.has_begun = true;
        if self.answer.is_some() {
            heads.out.clear();
            self.pass(cx, client, &mut heads.out, input)?;
            self.outlet.note_copied();
            return Ok(Poll::Ready(true));
        }
        let used = self.read_heads(cx, heads, client, connection, asked, input)?;
        if self.answer.is_none() {
            let pieces = client.buffers().copy(input.get(used..).unwrap_or_default(), heads.max_head());
            self.pieces = Some(pieces.ok_or(Failure::Protocol("its head does not end"))?);
        }
        Ok(Poll::Ready(used > 0 || self.answer.is_some()))
    }

    /// Reads more of a head that came in pieces; see [`Download::read`].
    fn read_piece(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        client: &mut Client,
        connection: &mut Connection,
        asked: &Asked<'_>,
        mut pieces: Buffer,
    ) -> Result<Poll<bool>, Failure> {
        if pieces.is_full() && !pieces.grow(desk.heads.max_head()) {
            return Err(Failure::Protocol("its head does not end"));
        }
        match pieces.poll_fill(cx, &mut connection.stream) {
            Poll::Ready(Ok(0)) => return self.end(cx, client).map(|()| Poll::Ready(true)),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Err(self.closed(error.to_string())),
            Poll::Pending => {
                self.pieces = Some(pieces).filter(|pieces| !pieces.filled().is_empty());
                return Ok(Poll::Pending);
            }
        }
        let used = self.read_heads(cx, &mut desk.heads, client, connection, asked, pieces.filled_mut())?;
        if self.answer.is_none() {
            pieces.consume(used);
            self.pieces = Some(pieces);
        }
        Ok(Poll::Ready(used > 0 || self.answer.is_some()))
    }

    /// Passes on the heads at the start of `input`, the last of them with what follows it. Returns how much of the
    /// input belonged to interim heads.
    fn read_heads(
        &mut self,
        cx: &mut Context<'_>,
        heads: &mut Heads,
        client: &mut Client,
        connection: &mut Connection,
        asked: &Asked<'_>,
        input: &mut [u8],
    ) -> Result<usize, Failure> {
        let mut used = 0;
        loop {
            let unread = input.get_mut(used..).unwrap_or_default();
            let (head, length) = match heads.parse_response(unread, &mut self.scan) {
                Parsed::Complete { head, length } => (head, length),
                Parsed::Incomplete => return Ok(used),
                Parsed::Rejected(reason) => return Err(Failure::Protocol(reason.as_str())),
            };
            if !matches!(head.status, 100..=199) || head.status == 101 {
                self.begin(cx, heads, client, connection, asked, (&head, length), unread)?;
                return Ok(used);
            }
            if asked.request.head.version == Version::Http11 {
                heads.out.clear();
                write_interim(&mut heads.out, unread, &head, &heads.fields, &client.settings.headers.response);
                self.outlet.outbox.send_bytes(cx, client.stream(), &heads.out).map_err(Failure::ClientGone)?;
                self.has_interim = true;
            }
            self.scan = ResponseScan::default();
            used += length;
        }
    }

    /// Passes on the final head at the start of `input` and what follows it.
    #[expect(clippy::too_many_arguments, reason = "each is another side of the exchange")]
    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        heads: &mut Heads,
        client: &mut Client,
        connection: &Connection,
        asked: &Asked<'_>,
        (head, length): (&ResponseHead, usize),
        input: &mut [u8],
    ) -> Result<(), Failure> {
        let (request, fields) = (asked.request, &heads.fields);
        if asked.is_peers
            && let Some(said) = fields.first(Name::EvenkeelPeer)
        {
            return Err(Unanswered::failure(said.of(input)));
        }
        let is_switch = head.status == 101;
        if is_switch {
            let protocols = request.upgrade.as_ref().filter(|_| asked.is_request_done);
            if !protocols.is_some_and(|protocols| protocols.are_accepted_by(input, fields)) {
                return Err(Failure::Protocol("a 101 that was not asked for"));
            }
        }
        let framing = framing::response(input, head, fields, request.head.method)
            .map_err(|reason| Failure::Protocol(reason.as_str()))?;
        if let Some(seconds) = fields.keep_alive_timeout(input) {
            connection.note_keep_alive(Duration::from_secs(seconds.into()));
        }
        let ResponseFraming { body, announced, persists } = framing;
        let towards = framing::towards_client(body, request.head.version);
        let keeps_alive = asked.may_keep_alive && towards != ResponseBody::UntilClose;
        heads.look_at_clock(asked.now);
        let answer = Answer {
            body: towards,
            announced,
            client: request.head.version,
            keeps_alive,
            served_by: printable(asked.served_by),
            host: asked.host.as_bytes(),
            is_peers: asked.is_peers,
            date: heads.date.as_bytes(),
            rules: request.applied(&client.settings.headers.response),
        };
        heads.out.clear();
        write_response(&mut heads.out, input, head, &heads.fields, &answer);
        let persists = persists && !is_switch;
        let rest = input.get_mut(length..).unwrap_or_default();
        let surplus = if is_switch { rest.to_vec() } else { Vec::new() };
        let passes_trailers = request.accepts_trailers && heads.fields.may_keep_trailers();
        let (status, at, body) = (head.status, asked.now, body.into());
        self.answer = Some(Begun { status, at, body, towards, keeps_alive, persists, passes_trailers, surplus });
        let rest = if is_switch { &mut [][..] } else { rest };
        self.pass(cx, client, &mut heads.out, rest)
    }

    /// Passes on the head that is in `out`, if any, and a piece of the body.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        out: &mut Vec<u8>,
        input: &mut [u8],
    ) -> Result<(), Failure> {
        let Some(answer) = &mut self.answer else { return Ok(()) };
        let taken = answer.body.take(input);
        // What comes behind the body's end was not asked for.
        answer.persists &= taken.consumed == input.len();
        let trailers = if answer.passes_trailers { answer.body.trailers() } else { &[] };
        let is_chunked = answer.towards == ResponseBody::Chunked;
        let end = answer.body.is_done().then_some(trailers);
        let data = input.get(taken.data).unwrap_or_default();
        // Behind a `101` comes what the protocol switched to.
        let is_last = end.is_some() && !answer.keeps_alive && answer.status != 101;
        let sent = self.outlet.outbox.send(cx, client.stream(), out, &Piece { data, is_chunked, end, is_last });
        sent.map_err(Failure::ClientGone)?;
        match taken.error {
            Some(reason) => Err(Failure::Protocol(reason.as_str())),
            None => Ok(()),
        }
    }

    /// The replica has closed its connection.
    fn end(&mut self, cx: &mut Context<'_>, client: &mut Client) -> Result<(), Failure> {
        match &mut self.answer {
            Some(answer) if matches!(answer.body, Body::UntilClose) => {
                answer.body.end();
                self.pass(cx, client, &mut Vec::new(), &mut [])
            }
            _ => Err(self.closed("it ended".to_owned())),
        }
    }

    /// Whether any byte of an answer came.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What it means that the replica is gone, or as good as gone.
    pub(super) fn lost(&self, news: &'static str) -> Failure {
        Failure::Lost { answer_began: self.has_begun, news }
    }

    /// What it means that the replica's connection is gone.
    pub(super) fn closed(&self, detail: String) -> Failure {
        Failure::Closed { answer_began: self.has_begun, detail }
    }
}

/// A name as it may stand in a field; what no field can hold is left out.
fn printable(name: &str) -> &[u8] {
    // No early exit, so that it compiles to vector instructions.
    let is_printable = name.bytes().fold(true, |so_far, b| so_far & matches!(b, b' '..=b'~'));
    if is_printable { name.as_bytes() } else { b"" }
}
