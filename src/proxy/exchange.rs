//! One request from top to bottom: route → pick, or wait for it → connect → relay, with the retries around the last
//! three, then what becomes of the client's connection.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::debug;

use super::connection::Client;
use super::download::Download;
use super::failure::Failure;
use super::hold::Hold;
use super::http1::name::Name;
use super::pool::{Connection, Fate, Kept, Look};
use super::relay::Relay;
use super::request::{Request, Writer};
use super::respond::Cause;
use super::retry::{Price, Retries};
use super::upload::Upload;
use super::wait::Wait;
use super::worker::Worker;
use super::{health_endpoint, route, tally, tunnel};
use crate::balancer::{Lease, PickError, Tried};
use crate::metrics::Refusal;
use crate::replica::{Lifecycle, Replica};

/// How long the rest of a request may take that was answered before it had come.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait for the news that a replica is going, whose connections were closed: Docker tells of it a moment
/// later.
const LATE_NEWS: Duration = Duration::from_millis(250);

/// What becomes of a client's connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next request may come.
    KeepAlive,
    /// It is closed.
    Close,
    /// It is closed once the client had the time to read the answer: it may still be sending, and a close would make
    /// the kernel throw away what the client has not read.
    Linger,
    /// It is reset, so that the client cannot take what it got for all there is.
    Reset,
}

/// An attempt that failed before the client was told a status.
struct Failed {
    failure: Failure,
    /// Whether it failed on a connection that had served before, which says little about the replica.
    was_reused: bool,
}

/// One request of a client.
pub(super) struct Exchange<'a> {
    pub(super) worker: &'a Worker,
    pub(super) client: &'a mut Client,
    pub(super) request: &'a Request,
    pub(super) service: Cow<'a, str>,
    began: Instant,
    /// Whether a replica that did not answer may have done what was asked.
    is_in_doubt: bool,
    /// The request's way to the replica that was tried last.
    upload: Upload,
}

/// Answers a request, whatever happens, and says what becomes of the client's connection.
pub(super) async fn serve(worker: &Worker, client: &mut Client, request: &mut Request) -> After {
    let began = worker.now();
    client.is_from_peer = false;
    worker.budget.borrow_mut().note_request(worker.seconds());
    let asked_for = if request.has_greeting { asked_for_by_peer(worker, client) } else { None };
    request.is_from_peer = asked_for.is_some();
    let service = asked_for.map_or_else(|| route(worker, client, request), Cow::Owned);
    if !client.settings.headers.is_empty() && !request.is_from_peer {
        let writer = Writer::new(&client.settings, &service, &client.addr, &worker.pseudonym);
        let heads = &mut worker.desk.borrow_mut().heads;
        request.prepare(&client.settings.headers, heads, client.buffered(), &writer);
    }
    let upload = Upload::new(request, true);
    let mut exchange = Exchange { worker, client, request, service, began, is_in_doubt: false, upload };
    let answered = match request.target.max_forwards {
        Some(0) => Err(Some(Cause::Asked)),
        _ if exchange.asks_for_health() => Err(Some(Cause::Health(health_endpoint::standing(worker)))),
        _ => exchange.attempt_until_answered().await,
    };
    match answered {
        Ok(After::KeepAlive) => exchange.finish_request().await,
        Ok(after) => after,
        Err(Some(cause)) => exchange.answer(cause).await,
        Err(None) => After::Close,
    }
}

/// The service that the request goes to.
fn route<'a>(worker: &'a Worker, client: &Client, request: &Request) -> Cow<'a, str> {
    let host = request.target.host_name.map(|name| name.of(client.buffered()));
    let is_known = |name: &str| worker.context.registry.replicas(name).is_some();
    route::service(host, is_known, worker.context.service.as_str())
}

/// The service that the request says it is for by its greeting, if it is a peer that says so. A peer's request is served
/// here or not at all: so no two hosts can send one to and fro.
#[cold]
fn asked_for_by_peer(worker: &Worker, client: &mut Client) -> Option<String> {
    // Nobody else had the desk since the request was read.
    let greeting = worker.desk.borrow().heads.fields.first(Name::EvenkeelPeer)?;
    let said = greeting.of(client.buffered());
    let service = worker.context.peers.service_asked_for(said, client.addr.ip()).map(str::to_owned);
    client.is_from_peer = service.is_some();
    service
}

impl Exchange<'_> {
    /// Tries replicas until one has answered, well or not; or says why none has, if there is anybody to be told.
    async fn attempt_until_answered(&mut self) -> Result<After, Option<Cause>> {
        let worker = self.worker;
        let mut retries = Retries::new(self.client.settings.retries);
        let is_from_peer = self.client.is_from_peer;
        let mut tried = if is_from_peer { Tried::from_peer() } else { Tried::default() };
        let mut is_fresh_only = false;
        let mut wait = Wait::default();
        let (mut last, mut is_retry): (Option<Failure>, bool) = (None, false);
        loop {
            // Who waits already goes first, and a request that had its turn goes on; but descriptors do not come free at once.
            let has_to_wait = match &last {
                None => worker.context.hold.has_line(&self.service),
                Some(failure) => matches!(failure, Failure::OutOfDescriptors(_)),
            };
            let picked = (!has_to_wait).then(|| worker.balancer.pick(&self.service, &tried));
            let lease = match picked {
                Some(Ok(lease)) => lease,
                // Nobody waits; and a peer's client waits there, where others may take its request.
                not_picked if is_from_peer || self.client.settings.hold.time.is_zero() => {
                    let in_line = Cause::Refused(Refusal::ReplicasBusy);
                    let refusal = not_picked.map_or(Some(in_line), |picked| picked.err().map(|error| refused(&error)));
                    return Err(last.map_or(refusal, |failure| failure.cause()));
                }
                Some(Err(_)) | None => {
                    let waited = Box::pin(self.wait(&mut wait, std::mem::take(&mut tried))).await;
                    waited.map_err(|cause| last.as_ref().filter(|_| cause.is_some()).map_or(cause, Failure::cause))?
                }
            };
            let claim = Claim::new(lease, &worker.context.hold);
            if is_retry {
                worker.context.metrics.retries.fetch_add(1, Ordering::Relaxed);
            }
            let replica = claim.lease.replica();
            let Failed { failure, was_reused } = match self.attempt(replica, is_fresh_only, &retries, &tried).await {
                Ok(after) => return Ok(after),
                Err(failed) => failed,
            };
            self.is_in_doubt |= failure.may_have_arrived();
            // A kept connection that was found closed says nothing of the replica.
            is_retry = !(was_reused && matches!(failure, Failure::Unsent));
            if is_retry {
                note(replica, &failure);
            }
            tally::failed(worker, replica, &failure, was_reused);
            retries.note(&failure);
            if matches!(failure, Failure::Declined) && !self.upload.is_replayable() {
                return Err(failure.cause());
            }
            let is_replayable = self.request.is_idempotent() && self.upload.is_replayable();
            match retries.price(&failure, was_reused, is_replayable) {
                None => return Err(failure.cause()),
                Some(Price::Nothing) => {}
                Some(Price::Attempt) => retries.spend(),
                Some(Price::Budget) => {
                    let is_affordable = worker.budget.borrow_mut().take(worker.seconds());
                    if !is_affordable && !self.is_leaving(replica).await {
                        return Err(failure.cause());
                    }
                    retries.spend();
                }
                Some(Price::Overdrawn) => {
                    if !(self.is_leaving(replica).await && self.is_listed(replica)) {
                        return Err(failure.cause());
                    }
                }
            }
            if was_reused && !matches!(failure, Failure::Declined) {
                // Others may be as dead, and each one costs an attempt; but the replica itself may well take the request.
                is_fresh_only |= !matches!(failure, Failure::Unsent | Failure::Silent);
                tried.add_kept(replica);
            } else {
                tried.add(replica);
            }
            last = Some(failure);
        }
    }

    /// Sends the request to one replica, over an idle connection or a new one, and passes its answer on. Idle
    /// connections that turn out to be closed before anything was written to them are no failure: the next is taken.
    async fn attempt(
        &mut self,
        replica: &Replica,
        is_fresh_only: bool,
        retries: &Retries,
        tried: &Tried,
    ) -> Result<After, Failed> {
        let worker = self.worker;
        let may_repeat = retries.is_allowed() && self.request.is_idempotent();
        let may_move = || retries.is_allowed() && worker.balancer.has_other(&self.service, tried, replica);
        let limit = self.client.settings.connect_timeout;
        // What a peer declines is sent elsewhere, whatever it is.
        let keeps = may_repeat || (replica.is_peer() && retries.is_allowed());
        let greeting = replica.is_peer().then(|| worker.context.peers.greeting(&self.service));
        let look = if may_repeat { Look::Short } else { Look::Long };
        loop {
            let kept = if is_fresh_only { Kept::None } else { worker.pool.take(replica, look, worker.now()) };
            let mut connection = match kept {
                Kept::Open(connection) => connection,
                // It may be about to stop, and would take a new connection with it.
                Kept::Closed if retries.is_allowed() && !may_repeat => {
                    return Err(Failed { failure: Failure::Unsent, was_reused: true });
                }
                // Boxed, so that idle connections' tasks need no room for what is rare.
                Kept::Closed | Kept::None => {
                    // Where many connect at once, each has a kilobyte meanwhile.
                    self.client.settle();
                    match Box::pin(worker.pool.connect(replica, limit, retries.may_hurry(), may_move)).await {
                        Ok(connection) => connection,
                        Err(failure) => return Err(Failed { failure, was_reused: false }),
                    }
                }
            };
            let was_reused = connection.was_kept;
            self.upload = Upload::new(self.request, keeps);
            let mut download = Download::new();
            let mut relay = Relay {
                worker,
                client: self.client,
                request: self.request,
                service: &self.service,
                replica,
                greeting: greeting.as_deref(),
                connection: &mut connection,
                upload: &mut self.upload,
                download: &mut download,
                may_move: may_repeat && retries.has_left(),
                may_hurry: retries.may_hurry(),
                tried,
            };
            let outcome = relay.run().await;
            if outcome.is_err() && connection.fate() == Fate::Cut {
                replica.metrics().record_cut();
            }
            tally::note_latency(worker, replica, &download);
            match (outcome, download.status()) {
                (Err(Failure::Unsent), _) if was_reused => {}
                (Err(failure), None) => return Err(Failed { failure, was_reused }),
                // Boxed, as the connect above.
                (Ok(()), Some(101)) => return Ok(Box::pin(self.run_tunnel(replica, connection, download)).await),
                (outcome, status) => {
                    return Ok(self.settle(replica, connection, &download, status.unwrap_or_default(), outcome));
                }
            }
        }
    }

    /// Whether the replica is going, as Docker says now or in a moment.
    async fn is_leaving(&self, replica: &Replica) -> bool {
        let mut changes = self.worker.context.registry.watch();
        let is_told = async { while replica.lifecycle() != Lifecycle::Draining && changes.changed().await.is_ok() {} };
        timeout(LATE_NEWS, is_told).await.is_ok()
    }

    /// Whether the replica is there still: one that goes was told to stop, and did not just die of a request.
    fn is_listed(&self, replica: &Replica) -> bool {
        let is_it = |other: &Arc<Replica>| other.incarnation() == replica.incarnation();
        self.worker.context.registry.replicas(&self.service).is_some_and(|all| all.list().iter().any(is_it))
    }

    /// Settles what an answer leaves behind: the record, and the replica's connection.
    fn settle(
        &mut self,
        replica: &Replica,
        connection: Connection,
        download: &Download,
        status: u16,
        outcome: Result<(), Failure>,
    ) -> After {
        let after = match &outcome {
            Err(Failure::ClientStalled) => After::Reset,
            Err(_) if download.ends_by_close() => After::Reset,
            Ok(()) if download.keeps_alive() => After::KeepAlive,
            Ok(()) if !self.upload.is_done() => After::Linger,
            _ => After::Close,
        };
        if let Err(failure) = &outcome {
            note(replica, failure);
        } else if download.persists() && self.upload.is_done() {
            connection.give_back(replica, self.worker.now());
        }
        self.record(replica, status);
        tally::ended(self.worker, replica, status, outcome.as_ref().err());
        if after == After::Close {
            // What it kept in case it had to be sent again is no reason to expect more.
            self.upload.skip_buffered(&mut self.worker.desk.borrow_mut(), self.client);
        }
        after
    }

    /// Passes on what either side says after a `101`, until the tunnel ends.
    async fn run_tunnel(&mut self, replica: &Replica, mut connection: Connection, download: Download) -> After {
        let status = 101;
        self.upload.skip_buffered(&mut self.worker.desk.borrow_mut(), self.client);
        let (surplus, unsent) = download.into_tunnel();
        let _open = replica.metrics().open_tunnel();
        tunnel::run(self.worker, self.client, &mut connection, &surplus, unsent).await;
        if connection.fate() == Fate::Cut {
            replica.metrics().record_cut();
        }
        self.record(replica, status);
        tally::ended(self.worker, replica, status, None);
        After::Close
    }

    /// Counts an answer that has ended now.
    fn record(&self, replica: &Replica, status: u16) {
        replica.metrics().record_answer(status, self.worker.now().saturating_duration_since(self.began));
    }

    /// Makes way for the next request: reads what is left of one that was answered before it had come, if that is
    /// little.
    async fn finish_request(&mut self) -> After {
        let worker = self.worker;
        if self.upload.skip_buffered(&mut worker.desk.borrow_mut(), self.client) {
            return After::KeepAlive;
        }
        let skipping = poll_fn(|cx| self.upload.poll_skip(cx, &mut worker.desk.borrow_mut(), self.client));
        match timeout(REST_TIMEOUT, skipping).await {
            Ok(true) => After::KeepAlive,
            _ => After::Linger,
        }
    }

    /// Gives an answer of our own. The connection is kept only if the whole request is there.
    async fn answer(&mut self, cause: Cause) -> After {
        let is_lost = self.is_in_doubt && self.request.is_from_peer;
        let cause = if is_lost { cause.after_a_loss() } else { cause };
        let is_whole = self.upload.skip_buffered(&mut self.worker.desk.borrow_mut(), self.client);
        let keeps_alive = is_whole && self.request.persists && !cause.ends_connection() && !self.worker.is_stopping();
        self.client.answer(self.worker, cause, Some(&self.request.head), keeps_alive).await
    }
}

/// What a client is told if no replica was picked.
pub(super) fn refused(error: &PickError) -> Cause {
    Cause::Refused(match error {
        PickError::NoSuchService(_) => Refusal::NoSuchService,
        PickError::NoneReady(_) => Refusal::NoReplicaReady,
        PickError::NoRoom(_) => Refusal::ReplicasBusy,
    })
}

/// A lease, and who it makes way for when it has ended: dropped in this order.
pub(super) struct Claim<'a> {
    lease: Lease,
    _next: Option<Next<'a>>,
}

/// Whoever waits for room at a replica.
struct Next<'a> {
    hold: &'a Hold,
    replica: Arc<Replica>,
}

impl<'a> Claim<'a> {
    /// The claim that a lease is.
    pub(super) fn new(lease: Lease, hold: &'a Hold) -> Self {
        let replica = lease.replica();
        let is_limited = replica.spec().max_concurrency.is_some();
        let next = is_limited.then(|| Next { hold, replica: Arc::clone(replica) });
        Self { lease, _next: next }
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        self.hold.wake(self.replica.spec().service.as_str());
    }
}

/// Counts a failed attempt against the replica, if it was the replica's fault.
fn note(replica: &Replica, failure: &Failure) {
    let spec = replica.spec();
    debug!(service = %spec.service, replica = %spec.name, error = %failure, cause = ?failure.blame(), "Attempt failed");
    if let Some(counted) = failure.counted_as() {
        replica.metrics().record_failure(counted);
        replica.set_last_error(failure);
    }
}
