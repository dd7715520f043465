//! Connections to replicas, and those of them that are idle: one pool per worker, so nothing is locked.

mod ack;
mod connection;
mod fate;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use rustc_hash::FxHashMap;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use self::fate::outlook;
use super::bell::Bell;
use super::failure::Failure;
use crate::metrics::ProxyMetrics;
use crate::registry::{Registry, change_after};
use crate::replica::Replica;

pub(super) use self::ack::ARRIVAL;
pub(super) use self::connection::{Connection, PATIENCE, PRESENCE};
pub(super) use self::fate::Fate;

/// Idle connections kept per replica and worker: no fewer than a busy worker has in use from one look at its sockets
/// to the next, or it opens new ones all the time. Age is what keeps them few.
const MAX_IDLE: usize = 1024;
/// How long a connection is kept idle, unless its replica is known to close earlier.
const MAX_IDLE_AGE: Duration = Duration::from_secs(30);
/// For how long a host that was silent is taken for one that may be so still.
const LATELY: Duration = Duration::from_secs(1);
/// The shortest age that a replica can teach us.
const MIN_IDLE_AGE: Duration = Duration::from_secs(1);
/// The time between two looks for connections that are closed or too old.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The idle connections of one worker, keyed by incarnation: a container that was restarted, or another one that got
/// its address, never meets a connection of the old one.
#[derive(Debug)]
pub(super) struct Pool {
    shelves: RefCell<FxHashMap<u64, Rc<Shelf>>>,
    bell: Rc<Bell>,
    metrics: Arc<ProxyMetrics>,
    /// How many shortages of descriptors this pool has heard of.
    shortages_seen: Cell<u64>,
    /// Of each shelf.
    room: usize,
}

/// What a worker has of one replica.
#[derive(Debug)]
struct Shelf {
    idle: RefCell<VecDeque<Idle>>,
    /// How many connections may be idle.
    room: usize,
    /// How long a connection may be idle.
    limit: Cell<Duration>,
    /// The replica left or drains: nothing is put here any more.
    is_closed: Cell<bool>,
    /// The drain timeout that runs, or has run out.
    drain_timer: RefCell<Option<AbortOnDropHandle<()>>>,
    fate: Cell<Fate>,
    /// When its host acknowledged nothing, or answered no question; `None` if a connection was made or kept since.
    silent_at: Cell<Option<Instant>>,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    since: Instant,
}

/// What there is of idle connections to a replica.
#[derive(Debug)]
pub(super) enum Kept {
    /// One that can be used.
    Open(Connection),
    /// Those that there were had been closed by the replica, which may be about to stop.
    Closed,
    /// None.
    None,
}

/// How closely to look at an idle connection before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Believe the runtime, which asks the socket only if something has happened to it. Costs no system call.
    Short,
    /// Ask the socket, in case something happened that the runtime has not heard of.
    Long,
}

impl Shelf {
    fn new(room: usize) -> Self {
        Self {
            idle: RefCell::default(),
            room,
            limit: Cell::new(MAX_IDLE_AGE),
            is_closed: Cell::default(),
            drain_timer: RefCell::default(),
            fate: Cell::new(Fate::Fine),
            silent_at: Cell::default(),
        }
    }

    /// The newest idle connection that is still open: the one least likely to be closed under us.
    fn take(self: &Rc<Self>, look: Look, now: Instant) -> Kept {
        let (mut idle, mut nothing) = (self.idle.borrow_mut(), Kept::None);
        while let Some(Idle { stream, since }) = idle.pop_back() {
            if now.saturating_duration_since(since) >= self.limit.get() {
                continue;
            }
            if is_open(&stream, look) {
                return Kept::Open(Connection { stream, was_kept: true, is_impatient: false, shelf: Rc::clone(self) });
            }
            nothing = Kept::Closed;
        }
        nothing
    }

    /// Stays a fifth under what a replica keeps.
    fn learn(&self, kept_for: Duration) {
        let limit = (kept_for * 4 / 5).max(MIN_IDLE_AGE);
        self.limit.set(limit.min(self.limit.get()));
    }

    /// Drops what is closed or too old. A connection that its replica closed tells how long it keeps them.
    fn sweep(&self) {
        self.idle.borrow_mut().retain(|Idle { stream, since }| {
            let age = since.elapsed();
            let is_open = is_open(stream, Look::Short);
            if !is_open && age > SWEEP_INTERVAL + MIN_IDLE_AGE {
                self.learn(age - SWEEP_INTERVAL);
            }
            is_open && age < self.limit.get()
        });
    }

    fn close(&self) {
        self.is_closed.set(true);
        self.idle.borrow_mut().clear();
    }

    /// Notes what has become of the replica; what was worse stays.
    fn meet(&self, fate: Fate) {
        if fate == Fate::Gone || !matches!(self.fate.get(), Fate::Cut | Fate::Gone) {
            self.fate.set(fate);
        }
    }

    /// Forgets what is old news by now, if the registry was not followed since: who was picked as ready would be left for
    /// another at once.
    fn forget_doubt(&self, replica: &Replica) {
        if matches!(self.fate.get(), Fate::Suspect | Fate::Doubtful) && replica.is_pickable() {
            self.fate.set(Fate::Fine);
        }
    }

    /// The drain was ended: what it has goes on, and may be kept.
    fn reopen(&self) {
        self.is_closed.set(false);
        self.drain_timer.take();
        if self.fate.get() == Fate::Cut {
            self.fate.set(Fate::Fine);
        }
    }

    /// Starts the drain timeout of a replica that drains, unless that was done.
    fn schedule_cut(self: &Rc<Self>, replica: &Replica, bell: &Rc<Bell>) {
        let mut timer = self.drain_timer.borrow_mut();
        if let (Some(limit), None) = (replica.spec().drain_timeout, &*timer) {
            let (shelf, bell) = (Rc::downgrade(self), Rc::clone(bell));
            *timer = Some(AbortOnDropHandle::new(tokio::task::spawn_local(async move {
                sleep(limit).await;
                if let Some(shelf) = shelf.upgrade() {
                    shelf.meet(Fate::Cut);
                    bell.ring();
                }
            })));
        }
    }
}

/// Whether an idle connection can be used. Bytes that nobody asked for are as bad as a close.
fn is_open(stream: &TcpStream, look: Look) -> bool {
    let mut byte = [0];
    let outcome = match look {
        Look::Short => stream.try_read(&mut byte),
        Look::Long => (&*SockRef::from(stream)).read(&mut byte),
    };
    outcome.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether this process or the whole machine has as many open files as it may have.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

impl Pool {
    /// An empty pool; it rings when connections are cut.
    pub(super) fn new(bell: Rc<Bell>, metrics: Arc<ProxyMetrics>) -> Self {
        Self { shelves: RefCell::default(), bell, metrics, shortages_seen: Cell::new(0), room: MAX_IDLE }
    }

    /// An idle connection to the replica.
    pub(super) fn take(&self, replica: &Replica, look: Look, now: Instant) -> Kept {
        let shelves = self.shelves.borrow();
        let Some(shelf) = shelves.get(&replica.incarnation()) else { return Kept::None };
        shelf.forget_doubt(replica);
        shelf.take(look, now)
    }

    /// A new connection to the replica. Given up at the news that the replica is gone; or may be gone, or after
    /// [`PATIENCE`], if `may_move` says that the request can go elsewhere; after [`ARRIVAL`] if it `may_hurry`
    /// and the host was silent lately.
    pub(super) async fn connect(
        &self,
        replica: &Replica,
        limit: Duration,
        may_hurry: bool,
        may_move: impl Fn() -> bool,
    ) -> Result<Connection, Failure> {
        let addr = replica.spec().addr;
        let shelf = self.shelf(replica);
        let was_silent = shelf.silent_at.get().is_some_and(|at| at.elapsed() < LATELY);
        let is_hasty = may_hurry && was_silent && ARRIVAL < limit && may_move();
        let limit = match is_hasty {
            true => ARRIVAL,
            false if PATIENCE < limit && may_move() => PATIENCE,
            false => limit,
        };
        let connecting = async {
            match TcpStream::connect(addr).await {
                Err(error) if is_out_of_descriptors(&error) && self.relieve() => TcpStream::connect(addr).await,
                outcome => outcome,
            }
        };
        let mut connecting = pin!(timeout(limit, connecting));
        let outcome = poll_fn(|cx| match (connecting.as_mut().poll(cx), shelf.fate.get()) {
            // Also if there is one now: it may lead to whoever has the address next.
            (_, fate @ (Fate::Gone | Fate::Cut)) => Poll::Ready(Err(io::Error::other(fate.news()))),
            (Poll::Ready(outcome), _) => Poll::Ready(outcome.unwrap_or(Err(io::ErrorKind::TimedOut.into()))),
            (Poll::Pending, fate @ (Fate::Suspect | Fate::Doubtful)) if may_move() => {
                Poll::Ready(Err(io::Error::other(fate.news())))
            }
            _ => Poll::Pending,
        });
        let stream = outcome.await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut if is_hasty => Failure::Hasty,
            io::ErrorKind::TimedOut => Failure::ConnectTimeout,
            _ if is_out_of_descriptors(&error) => Failure::OutOfDescriptors(error),
            _ => Failure::Connect(error),
        })?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        shelf.silent_at.set(None);
        Ok(Connection { stream, was_kept: false, is_impatient: false, shelf })
    }

    fn shelf(&self, replica: &Replica) -> Rc<Shelf> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.entry(replica.incarnation()).or_insert_with(|| Rc::new(Shelf::new(self.room)));
        if replica.is_draining() {
            // Its drain may have begun while there was no shelf that could have heard of it.
            shelf.schedule_cut(replica, &self.bell);
        }
        shelf.forget_doubt(replica);
        Rc::clone(shelf)
    }

    /// There was no descriptor for a client: gives up the older half of what is idle, and lets the other workers do so
    /// within a second. The rest is what lets the clients that are there be served.
    pub(super) fn make_way(&self) {
        self.metrics.descriptor_shortages.fetch_add(1, Ordering::Relaxed);
        self.halve();
    }

    /// There was no descriptor for a connection to a replica: closes all idle ones. Whether there were any here.
    fn relieve(&self) -> bool {
        self.metrics.descriptor_shortages.fetch_add(1, Ordering::Relaxed);
        let idle: Vec<_> = self.shelves.borrow().values().map(|shelf| shelf.idle.take()).collect();
        idle.iter().any(|idle| !idle.is_empty())
    }

    fn halve(&self) {
        for shelf in self.shelves.borrow().values() {
            let mut idle = shelf.idle.borrow_mut();
            let half = idle.len() / 2;
            idle.drain(..half);
        }
    }

    /// Looks for connections that are closed or too old, and for shortages that another worker met.
    fn sweep(&self) {
        let shortages = self.metrics.descriptor_shortages.load(Ordering::Relaxed);
        if self.shortages_seen.replace(shortages) != shortages {
            self.halve();
        }
        self.shelves.borrow().values().for_each(|shelf| shelf.sweep());
    }

    /// Follows the registry: idle connections to a replica go when it leaves or drains, the others when it has drained
    /// for too long, unless the drain was ended; who waits for its answer hears when it leaves or may never give one.
    /// Never ends.
    pub(super) async fn follow(self: Rc<Self>, registry: Registry) {
        let (mut changes, mut looked_at) = (registry.watch(), 0);
        let mut tick = interval(SWEEP_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = change_after(looked_at, &mut changes) => match changed {
                    Ok(()) => looked_at = self.match_to(&registry),
                    Err(_) => return,
                },
                _ = tick.tick() => self.sweep(),
            }
        }
    }

    /// Notes what the registry says of the replicas now, and how many it has looked at: none where no connection was made.
    pub(super) fn match_to(&self, registry: &Registry) -> usize {
        if self.shelves.borrow().is_empty() {
            return 0;
        }
        let services = registry.services();
        let replicas = || services.iter().flat_map(|replicas| replicas.list());
        for replica in replicas() {
            match self.shelves.borrow().get(&replica.incarnation()) {
                Some(shelf) if replica.is_draining() => {
                    shelf.close();
                    shelf.schedule_cut(replica, &self.bell);
                }
                Some(shelf) => shelf.reopen(),
                None => {}
            }
        }
        let listed: HashMap<_, _> = replicas().map(|replica| (replica.incarnation(), outlook(replica))).collect();
        let mut has_news = false;
        self.shelves.borrow_mut().retain(|incarnation, shelf| {
            let fate = listed.get(incarnation).copied();
            if fate.is_none() {
                shelf.close();
            }
            shelf.meet(fate.unwrap_or(Fate::Gone));
            // Whoever else holds the shelf is in the middle of something.
            has_news |= shelf.fate.get() != Fate::Fine && Rc::strong_count(shelf) > 1;
            fate.is_some()
        });
        if has_news {
            self.bell.ring();
        }
        listed.len()
    }
}

#[cfg(test)]
mod tests;
