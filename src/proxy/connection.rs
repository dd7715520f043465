//! One client connection, from accept to close.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::berths::{Berth, Visit};
use super::buffers::{self, Buffer, Buffers};
use super::desk::Reach;
use super::exchange::{self, After};
use super::failure::Failure;
use super::http1::client::ClientAddr;
use super::http1::{Method, Parsed, RejectReason, RequestHead, RequestScan, Version};
use super::outbox::{Outbox, poll_read};
use super::request::Request;
use super::respond::{self, Cause, Manner};
use super::sender::{self, Introduced};
use super::timer::IdleTimer;
use super::worker::Worker;
use crate::config::settings::ProxySettings;
use crate::metrics::Refusal;

/// How long a client may take to read our last answer before its connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Who called, and what it sent that was not used yet.
#[derive(Debug)]
pub(super) struct Client {
    /// Its address.
    pub(super) addr: ClientAddr,
    /// Whether it is a peer that sent the request that is under way.
    pub(super) is_from_peer: bool,
    /// Whether it has sent all that it will ever send.
    pub(super) has_finished: bool,
    /// Tells when a wait of this connection has lasted too long.
    pub(super) timer: IdleTimer,
    /// What the present request goes by from its head to its end.
    pub(super) settings: Rc<ProxySettings>,
    stream: TcpStream,
    buffer: Option<Buffer>,
    buffers: Rc<Buffers>,
}

/// What a client does next.
pub(super) enum Next {
    Request(Request),
    /// With the head if that much could be read: a `HEAD` is refused without a body, too.
    Rejected(RejectReason, Option<RequestHead>),
    /// It began a request and did not end it in time.
    Stalled,
    /// It is done, or there is nothing more to wait for.
    Gone,
}

/// Serves the connection until either end closes it, and then others, for as long as the worker has use for it.
pub(super) async fn serve(worker: Rc<Worker>, visit: Visit) {
    let _listening = worker.bell.listen().await;
    let berth = Rc::<Berth>::default();
    // Boxed, since a task is moved several times until it stands where it stays, and this one is large.
    let mut conversation = Box::pin(converse(&worker, visit, IdleTimer::default()));
    loop {
        let timer = poll_fn(|cx| {
            worker.look_at_clock();
            conversation.as_mut().poll(cx)
        })
        .await;
        let Some(visit) = worker.berths.wait(&berth).await else { return };
        conversation.set(converse(&worker, visit, timer));
    }
}

/// Serves one connection; gives the timer back, for the next.
async fn converse(worker: &Worker, visit: Visit, mut timer: IdleTimer) -> IdleTimer {
    let Visit { stream, mut addr, mut admitted } = visit;
    timer.progress();
    let settings = worker.settings();
    let mut client = Client {
        addr: ClientAddr::new(addr.ip(), &settings.trusted_proxies),
        is_from_peer: false,
        has_finished: false,
        timer,
        settings,
        stream,
        buffer: None,
        buffers: Rc::clone(&worker.buffers),
    };
    let mut has_said_who = true;
    if sender::is_sender(addr, &client.settings.proxy_protocol) {
        // Boxed, so that the tasks of all others need no room for it.
        match Box::pin(sender::introduce(worker, &mut client, &mut admitted, addr)).await {
            Ok(Introduced::For(of_the_client)) => addr = of_the_client,
            Ok(Introduced::HealthCheck) => has_said_who = false,
            Err(end) => return client.close(worker, end).await,
        }
    }
    let mut idle_limit = client.settings.first_byte_timeout;
    let end = loop {
        // The only call of it and a match on the wait itself: otherwise the request, which is large, is copied once more.
        let after = match client.next(worker, idle_limit).await {
            Next::Request(mut request) => {
                request.persists &= has_said_who;
                client.keep_up(worker);
                exchange::serve(worker, &mut client, &mut request).await
            }
            other => {
                client.keep_up(worker);
                client.refuse(worker, addr, other).await
            }
        };
        match after {
            After::KeepAlive => idle_limit = worker.settings().keep_alive_timeout,
            end => break end,
        }
    };
    client.close(worker, end).await
}

impl Client {
    /// The socket.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Lets what begins now go by the newest settings.
    #[inline]
    fn keep_up(&mut self, worker: &Worker) {
        if !worker.goes_by(&self.settings) {
            self.renew_settings(worker);
        }
    }

    #[cold]
    fn renew_settings(&mut self, worker: &Worker) {
        self.settings = worker.settings();
        self.addr = ClientAddr::new(self.addr.ip(), &self.settings.trusted_proxies);
    }

    /// Where buffers come from.
    pub(super) fn buffers(&self) -> &Rc<Buffers> {
        &self.buffers
    }

    /// What it sent that was not used yet.
    pub(super) fn buffered(&self) -> &[u8] {
        self.buffer.as_ref().map(Buffer::filled).unwrap_or_default()
    }

    /// The same, and it counts as used.
    pub(super) fn take_buffered(&mut self) -> Vec<u8> {
        let buffered = self.buffered().to_vec();
        self.buffer = None;
        buffered
    }

    /// Marks bytes as used. An empty buffer goes back to the worker.
    pub(super) fn consume(&mut self, count: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(count);
            if buffer.filled().is_empty() {
                self.buffer = None;
            }
        }
    }

    /// How much memory its buffer takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.buffer.as_ref().map(Buffer::memory).unwrap_or_default()
    }

    /// Whether no more can be read unless the buffer grows.
    pub(super) fn is_full(&self) -> bool {
        self.buffer.as_ref().is_some_and(Buffer::is_full)
    }

    /// What is buffered stays for a while.
    pub(super) fn settle(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.settle();
        }
    }

    /// Lets the buffer grow, up to `limit` bytes; whether it could.
    pub(super) fn grow(&mut self, limit: usize) -> bool {
        self.buffer.as_mut().is_some_and(|buffer| buffer.grow(limit))
    }

    /// Whether more can be read, if need be once the buffer has grown, up to `limit` bytes.
    pub(super) fn has_room(&mut self, limit: usize) -> bool {
        !self.is_full() || self.grow(limit)
    }

    /// Reads more; 0 if it has finished. The buffer must not be full.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = self.buffer.take().unwrap_or_else(|| self.buffers.lend());
        let outcome = buffer.poll_fill(cx, &mut self.stream);
        self.has_finished |= matches!(outcome, Poll::Ready(Ok(0)));
        self.buffer = Some(buffer).filter(|buffer| !buffer.filled().is_empty());
        outcome
    }

    /// Looks for a client that has gone away, once it `may` have nothing else to say: what it sends meanwhile is the
    /// next request. One that has only finished sending still waits for its answer.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>, may: bool) -> Result<(), Failure> {
        self.read_ahead(cx, |client| may && client.has_room(buffers::SIZE))
    }

    /// The same without taking more memory, as far as that goes: while a request waits.
    pub(super) fn watch_in_place(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.read_ahead(cx, |client| !client.is_full())
    }

    fn read_ahead(&mut self, cx: &mut Context<'_>, may: impl Fn(&mut Self) -> bool) -> Result<(), Failure> {
        while !self.has_finished && may(self) {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(Failure::ClientGone(error)),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Ends a connection on which no request came: says what is wrong if there is anybody to be told.
    async fn refuse(&mut self, worker: &Worker, addr: SocketAddr, next: Next) -> After {
        match next {
            Next::Rejected(reason, head) => {
                debug!(client = %addr, cause = reason.as_str(), "Request rejected");
                self.answer(worker, Cause::Rejected(reason), head.as_ref(), false).await
            }
            Next::Stalled => self.answer(worker, Cause::Refused(Refusal::ClientTimeout), None, false).await,
            Next::Gone | Next::Request(_) => After::Close,
        }
    }

    /// Waits for the next request's head.
    async fn next(&mut self, worker: &Worker, idle_limit: Duration) -> Next {
        let mut scan = RequestScan::default();
        let mut parsed = 0;
        self.timer.progress();
        poll_fn(|cx| self.poll_next(cx, worker, idle_limit, &mut scan, &mut parsed)).await
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        idle_limit: Duration,
        scan: &mut RequestScan,
        parsed: &mut usize,
    ) -> Poll<Next> {
        loop {
            if self.buffered().len() > *parsed {
                *parsed = self.buffered().len();
                let heads = &mut worker.desk.borrow_mut().heads;
                match heads.parse_request(self.buffered(), scan) {
                    Parsed::Incomplete if self.is_full() => {
                        self.grow(heads.max_head());
                    }
                    Parsed::Incomplete => {}
                    Parsed::Rejected(reason) => return Poll::Ready(Next::Rejected(reason, None)),
                    Parsed::Complete { head, length } => {
                        let request = Request::read(self.buffered(), head, length, heads, &worker.pseudonym);
                        return Poll::Ready(match request {
                            Ok(request) => Next::Request(request),
                            Err(reason) => Next::Rejected(reason, Some(head)),
                        });
                    }
                }
            }
            let was_idle = self.buffered().is_empty();
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Gone),
                Poll::Ready(Ok(_)) if was_idle => self.timer.progress(),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if was_idle && worker.is_over() => return Poll::Ready(Next::Gone),
                Poll::Pending => {
                    let limit = if was_idle { idle_limit } else { worker.settings().head_timeout };
                    ready!(self.timer.poll_expired(cx, worker.now(), limit));
                    return Poll::Ready(if scan.has_begun() { Next::Stalled } else { Next::Gone });
                }
            }
        }
    }

    /// Gives an answer of our own to a request, of which the head is known if it was one.
    pub(super) async fn answer(
        &mut self,
        worker: &Worker,
        cause: Cause,
        head: Option<&RequestHead>,
        keeps_alive: bool,
    ) -> After {
        if let Some(counted) = cause.counted_as() {
            worker.context.metrics.record_refusal(counted);
        }
        let bytes = {
            let heads = &mut worker.desk.borrow_mut().heads;
            heads.look_at_clock(worker.now());
            let version = head.map_or(Version::Http11, |head| head.version);
            let is_head = head.is_some_and(|head| head.method == Method::Head);
            respond::answer(
                cause,
                &Manner { version, is_head, keeps_alive, date: heads.date.as_bytes(), is_for_peer: self.is_from_peer },
            )
        };
        let mut outbox = Outbox::with(bytes);
        let limit = self.settings.idle_timeout;
        self.timer.progress();
        let flushing = poll_fn(|cx| match outbox.poll_flush(cx, &mut self.stream).1 {
            Poll::Ready(outcome) => Poll::Ready(outcome.is_ok()),
            Poll::Pending => self.timer.poll_expired(cx, worker.now(), limit).map(|()| false),
        });
        match (flushing.await, keeps_alive) {
            (false, _) => After::Reset,
            (true, true) => After::KeepAlive,
            (true, false) => After::Linger,
        }
    }

    /// Closes the connection; its timer is left.
    async fn close(mut self, worker: &Worker, how: After) -> IdleTimer {
        match how {
            After::Reset => {
                // Fails only on a socket that is closed already.
                let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            }
            After::Linger => self.linger(worker).await,
            After::Close | After::KeepAlive => {
                if !self.buffered().is_empty() {
                    self.linger(worker).await;
                } else {
                    // Lets the last of the answer go, even if a close would be a reset, since more has come to be read.
                    let _ = SockRef::from(&self.stream).shutdown(Shutdown::Write);
                }
            }
        }
        self.timer
    }

    /// Tells the client that no more will come, and throws away what it still sends, for a while.
    async fn linger(&mut self, worker: &Worker) {
        self.buffer = None;
        let mut is_shut_down = false;
        let throwing_away = poll_fn(|cx| {
            if !is_shut_down {
                // An error is a client that has gone, which the next read will tell.
                let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
                is_shut_down = true;
            }
            let desk = &mut *worker.desk.borrow_mut();
            let (_, space) = desk.split(Reach::default(), u64::MAX);
            loop {
                match ready!(poll_read(cx, &self.stream, space)) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Poll::Ready(()),
                }
            }
        });
        if !self.has_finished {
            // Whether it is done or not, the connection is closed now.
            let _ = timeout(LINGER, throwing_away).await;
        }
    }
}
