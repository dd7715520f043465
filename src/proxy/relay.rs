//! A request and its answer between one client and one replica: both ways at once, in one task, until the answer has
//! ended.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Client;
use super::download::Download;
use super::failure::Failure;
use super::pool::{ARRIVAL, Connection, Fate, PATIENCE, PRESENCE};
use super::request::{Request, Writer};
use super::upload::Upload;
use super::worker::Worker;
use crate::balancer::Tried;
use crate::replica::Replica;

/// Everything that takes part.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    /// Whose thread it is.
    pub(super) worker: &'a Worker,
    /// Who asked.
    pub(super) client: &'a mut Client,
    /// What it asked.
    pub(super) request: &'a Request,
    /// The service, as the Host of a request that names none.
    pub(super) service: &'a str,
    /// The replica that has it.
    pub(super) replica: &'a Replica,
    /// What it is to know the request by, if it is a peer.
    pub(super) greeting: Option<&'a str>,
    /// The way to the replica.
    pub(super) connection: &'a mut Connection,
    /// The request's way.
    pub(super) upload: &'a mut Upload,
    /// The answer's way.
    pub(super) download: &'a mut Download,
    /// Whether the request may go to another replica while nothing of an answer has come.
    pub(super) may_move: bool,
    /// Whether it may do so for no more than that the replica's host is silent.
    pub(super) may_hurry: bool,
    /// The replicas that it went to before this one.
    pub(super) tried: &'a Tried,
}

/// What a download has to know about its exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The request.
    pub(super) request: &'a Request,
    /// The replica's name.
    pub(super) served_by: &'a str,
    /// What is said behind it.
    pub(super) host: &'a str,
    /// Whether it is a peer.
    pub(super) is_peers: bool,
    /// When the task was woken.
    pub(super) now: Instant,
    /// Whether the client's connection may be kept, as far as we are concerned.
    pub(super) may_keep_alive: bool,
    /// Whether the whole request went out.
    pub(super) is_request_done: bool,
}

/// How long a client that has finished sending waits for an answer to begin. Most that finish before they were answered
/// have gone away, which looks the same, and hold a replica's attention for nothing.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// From the first look for a host to the second.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long may pass before whoever is next has done something, and what it is if nothing was done.
struct Turn {
    limit: Duration,
    expired: fn() -> Failure,
}

/// When each way moved last. Kept only while the request still comes: then one way may flow and the other stand still.
#[derive(Default)]
struct Pace {
    sent: Option<Instant>,
    received: Option<Instant>,
    /// Whether it was asked if the replica's host has got the request.
    was_asked: bool,
    look: Look,
}

/// When to look whether the replica's host has answered the question whether it is there.
#[derive(Clone, Copy, Default)]
enum Look {
    #[default]
    First,
    /// After so long a wait. A machine that stood still for a moment has asked only now, and would not wait for the answer.
    Again(Duration),
    Over,
}

impl Look {
    /// After how long a wait it is due.
    fn due(self) -> Option<Duration> {
        match self {
            Self::First => Some(PRESENCE),
            Self::Again(at) => Some(at),
            Self::Over => None,
        }
    }
}

impl Relay<'_> {
    /// Sends the request and passes the answer on. An error after the download has a status means that the answer
    /// broke off.
    pub(super) async fn run(&mut self) -> Result<(), Failure> {
        poll_fn(|cx| Poll::Ready(self.begin(cx))).await?;
        self.client.timer.progress();
        let mut pace = Pace::default();
        poll_fn(|cx| self.poll(cx, &mut pace)).await
    }

    fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let desk = &mut *self.worker.desk.borrow_mut();
        let settings = &self.client.settings;
        let writer = Writer::new(settings, self.service, &self.client.addr, &self.worker.pseudonym);
        let writer = Writer { greeting: self.greeting, ..writer };
        if !self.request.write(&mut desk.heads, self.client.buffered(), &writer) {
            return Err(Failure::HeadLost);
        }
        self.upload.begin(cx, desk, self.client, &mut self.connection.stream)
    }

    fn poll(&mut self, cx: &mut Context<'_>, pace: &mut Pace) -> Poll<Result<(), Failure>> {
        let desk = &mut *self.worker.desk.borrow_mut();
        let has_sent = self.upload.poll(cx, desk, self.client, &mut self.connection.stream)?;
        let asked = Asked {
            request: self.request,
            served_by: &self.replica.spec().name,
            host: self.worker.context.peers.suffix(),
            is_peers: self.greeting.is_some(),
            now: self.worker.now(),
            may_keep_alive: self.request.persists && !self.worker.is_stopping() && !self.is_body_unasked(),
            is_request_done: self.upload.is_done(),
        };
        let (has_received, ended) = self.download.poll(cx, desk, self.client, self.connection, &asked)?;
        if ended.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.heed_news()?;
        self.client.watch(cx, self.upload.is_over())?;
        if has_sent || has_received {
            self.note_progress(pace, has_sent, has_received);
        }
        let Turn { limit, expired } = self.turn();
        if self.may_lose_patience() {
            if !pace.was_asked && ARRIVAL < limit {
                ready!(self.client.timer.poll_expired(cx, self.worker.now(), ARRIVAL));
                pace.was_asked = true;
                self.heed_silence(self.connection.is_unheard())?;
            }
            if PATIENCE < limit {
                ready!(self.client.timer.poll_expired(cx, self.worker.now(), PATIENCE));
                self.connection.lose_patience();
            }
        }
        while self.connection.is_impatient()
            && let Some(at) = pace.look.due().filter(|at| *at < limit)
        {
            ready!(self.client.timer.poll_expired(cx, self.worker.now(), at));
            self.look(pace)?;
        }
        ready!(self.client.timer.poll_expired(cx, self.worker.now(), limit));
        Poll::Ready(Err(expired()))
    }

    /// Does not wait for what will not come: the rest of an answer of a replica that has left, or an answer of one that
    /// may never give one while another replica could.
    fn heed_news(&self) -> Result<(), Failure> {
        let fate = self.connection.fate();
        let is_hopeless = match fate {
            Fate::Fine => false,
            Fate::Cut => true,
            // What it sent in time is still read, and passed on if that was all.
            Fate::Gone => !self.download.is_whole() && self.connection.is_quiet(),
            Fate::Doubtful => self.can_move(),
            // That may be wrong, and of several replicas in turn: so it costs like any other retry.
            Fate::Suspect => self.can_move() && self.worker.budget.borrow_mut().take(self.worker.seconds()),
        };
        if is_hopeless { Err(self.download.lost(fate.news())) } else { Ok(()) }
    }

    /// Looks whether the replica's host has answered; for the last time if it has, or if it had time enough.
    #[cold]
    fn look(&mut self, pace: &mut Pace) -> Result<(), Failure> {
        let is_gone = self.connection.is_host_gone();
        if is_gone && matches!(pace.look, Look::First) {
            let since = self.client.timer.waiting_since().unwrap_or(self.worker.now());
            pace.look = Look::Again(self.worker.now().saturating_duration_since(since) + LOOK_AGAIN);
            return Ok(());
        }
        pace.look = Look::Over;
        self.connection.ask_no_more();
        self.heed_silence(is_gone)
    }

    /// Does not wait for a host that is silent, if another replica can take the request.
    #[cold]
    fn heed_silence(&self, is_silent: bool) -> Result<(), Failure> {
        let may_leave = is_silent && self.may_hurry && self.can_move();
        if may_leave && self.worker.budget.borrow_mut().take(self.worker.seconds()) {
            self.connection.note_silence(self.worker.now());
            return Err(Failure::Silent);
        }
        Ok(())
    }

    /// Whether it is time to ask whether the replica's host is there at all: all of a request that could be sent again is
    /// sent, and nothing has come of an answer. So little is sent that a replica which reads none of it closes no window.
    fn may_lose_patience(&self) -> bool {
        self.may_move
            && !self.connection.is_impatient()
            && self.upload.is_over()
            && self.upload.is_replayable()
            && !self.download.has_begun()
    }

    /// Whether another replica could take the request, of which nothing may have come of an answer.
    fn can_move(&self) -> bool {
        self.may_move
            && !self.download.has_begun()
            && self.upload.is_replayable()
            && self.worker.balancer.has_other(self.service, self.tried, self.replica)
            && self.connection.is_quiet()
    }

    /// Lets the wait for whoever is next start anew; but while the request still comes, from when the way moved last that
    /// has stood still for longer.
    fn note_progress(&mut self, pace: &mut Pace, has_sent: bool, has_received: bool) {
        let timer = &mut self.client.timer;
        if self.upload.is_over() {
            return timer.progress();
        }
        let now = self.worker.now();
        // Who had to wait for a `100 Continue` could not begin before now.
        let start = timer.waiting_since().filter(|_| !self.request.expects_continue).unwrap_or(now);
        for (moved, at) in [(has_sent, &mut pace.sent), (has_received, &mut pace.received)] {
            *at = if moved { Some(now) } else { at.or(Some(start)) };
        }
        // A replica may well be silent while it still takes the request.
        let sent = pace.sent.filter(|_| !self.is_body_unasked());
        let received = pace.received.filter(|_| self.download.waits_for_client());
        self.client.timer.wait_from(sent.into_iter().chain(received).min().unwrap_or(now));
    }

    /// Whether the client waits for a `100 Continue` that has not come, so that none of its body has.
    fn is_body_unasked(&self) -> bool {
        self.request.expects_continue && !self.download.has_interim() && !self.upload.has_begun()
    }

    fn turn(&self) -> Turn {
        let settings = &self.client.settings;
        let is_answered = self.download.status().is_some();
        let replicas_limit = if is_answered { settings.idle_timeout } else { settings.response_timeout };
        let waits_for_body = !self.upload.is_over() && !self.upload.waits_for_replica() && !self.is_body_unasked();
        if self.download.waits_for_client() || waits_for_body {
            Turn { limit: settings.idle_timeout, expired: || Failure::ClientStalled }
        } else if self.client.has_finished && !is_answered && HALF_CLOSED < replicas_limit {
            Turn { limit: HALF_CLOSED, expired: || Failure::ClientGone(io::ErrorKind::UnexpectedEof.into()) }
        } else {
            Turn { limit: replicas_limit, expired: || Failure::ResponseTimeout }
        }
    }
}
