//! Connections to replicas, and those of them that are idle: one pool per worker, so nothing is locked.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustc_hash::FxHashMap;
use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::bell::Bell;
use super::failure::Failure;
use crate::metrics::ProxyMetrics;
use crate::registry::Registry;
use crate::replica::{Lifecycle, Replica};

/// Idle connections kept per replica and worker: no fewer than a busy worker has in use from one look at its sockets
/// to the next, or it opens new ones all the time. Age is what keeps them few.
const MAX_IDLE: usize = 1024;
/// How long a connection is kept idle, unless its replica is known to close earlier.
const MAX_IDLE_AGE: Duration = Duration::from_secs(30);
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
    is_cut_scheduled: Cell<bool>,
    is_cut: Cell<bool>,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    since: Instant,
}

/// A connection to one incarnation of a replica, for one exchange.
#[derive(Debug)]
pub(super) struct Connection {
    /// The socket.
    pub(super) stream: TcpStream,
    /// Whether it has served before.
    pub(super) was_kept: bool,
    shelf: Rc<Shelf>,
}

/// How closely to look at an idle connection before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Believe the runtime, which asks the socket only if something has happened to it. Costs no system call.
    Short,
    /// Ask the socket, in case something happened that the runtime has not heard of.
    Long,
}

impl Connection {
    /// Whether the replica has drained for as long as it may. The bell rings when this becomes true.
    pub(super) fn is_cut(&self) -> bool {
        self.shelf.is_cut.get()
    }

    /// Notes how long the replica says that it keeps an idle connection.
    pub(super) fn note_keep_alive(&self, timeout: Duration) {
        self.shelf.learn(timeout);
    }

    /// Gives a connection back whose answer has ended now.
    pub(super) fn give_back(self, replica: &Replica, now: Instant) {
        let shelf = &self.shelf;
        if !shelf.is_closed.get() && !shelf.is_cut.get() && replica.lifecycle() != Lifecycle::Draining {
            let mut idle = shelf.idle.borrow_mut();
            if idle.len() >= shelf.room {
                idle.pop_front();
            }
            idle.push_back(Idle { stream: self.stream, since: now });
        }
    }
}

impl Shelf {
    fn new(room: usize) -> Self {
        Self {
            idle: RefCell::default(),
            room,
            limit: Cell::new(MAX_IDLE_AGE),
            is_closed: Cell::default(),
            is_cut_scheduled: Cell::default(),
            is_cut: Cell::default(),
        }
    }

    /// The newest idle connection that is still open: the one least likely to be closed under us.
    fn take(&self, look: Look, now: Instant) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { stream, since }) = idle.pop_back() {
            if now.saturating_duration_since(since) < self.limit.get() && is_open(&stream, look) {
                return Some(stream);
            }
        }
        None
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
    pub(super) fn take(&self, replica: &Replica, look: Look, now: Instant) -> Option<Connection> {
        let shelves = self.shelves.borrow();
        let shelf = shelves.get(&replica.incarnation())?;
        let stream = shelf.take(look, now)?;
        Some(Connection { stream, was_kept: true, shelf: Rc::clone(shelf) })
    }

    /// A new connection to the replica.
    pub(super) async fn connect(&self, replica: &Replica, limit: Duration) -> Result<Connection, Failure> {
        let addr = replica.spec().addr;
        let connecting = async {
            match TcpStream::connect(addr).await {
                Err(error) if is_out_of_descriptors(&error) && self.relieve() => TcpStream::connect(addr).await,
                outcome => outcome,
            }
        };
        let outcome = timeout(limit, connecting).await.map_err(|_| Failure::ConnectTimeout)?;
        let stream = outcome.map_err(|error| match is_out_of_descriptors(&error) {
            true => Failure::OutOfDescriptors(error),
            false => Failure::Connect(error),
        })?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.entry(replica.incarnation()).or_insert_with(|| Rc::new(Shelf::new(self.room)));
        Ok(Connection { stream, was_kept: false, shelf: Rc::clone(shelf) })
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

    /// Starts the drain timeout of a replica that drains.
    fn schedule_cut(&self, replica: &Replica) {
        let shelves = self.shelves.borrow();
        if let Some(limit) = replica.spec().drain_timeout
            && let Some(shelf) = shelves.get(&replica.incarnation())
            && !shelf.is_cut_scheduled.replace(true)
        {
            let (shelf, bell) = (Rc::clone(shelf), Rc::clone(&self.bell));
            tokio::task::spawn_local(async move {
                sleep(limit).await;
                shelf.is_cut.set(true);
                bell.ring();
            });
        }
    }

    /// Follows the registry: idle connections to a replica go when it leaves or drains, the others when it has drained
    /// for too long. Never ends.
    pub(super) async fn follow(self: Rc<Self>, registry: Registry) {
        let mut changes = registry.watch();
        let mut tick = interval(SWEEP_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => self.match_to(&registry),
                    Err(_) => return,
                },
                _ = tick.tick() => self.sweep(),
            }
        }
    }

    fn match_to(&self, registry: &Registry) {
        let services = registry.services();
        let replicas = || services.iter().flat_map(|replicas| replicas.list());
        for replica in replicas().filter(|replica| replica.lifecycle() == Lifecycle::Draining) {
            if let Some(shelf) = self.shelves.borrow().get(&replica.incarnation()) {
                shelf.close();
            }
            self.schedule_cut(replica);
        }
        let listed: HashSet<_> = replicas().map(|replica| replica.incarnation()).collect();
        self.shelves.borrow_mut().retain(|incarnation, shelf| {
            let is_listed = listed.contains(incarnation);
            if !is_listed {
                shelf.close();
            }
            is_listed
        });
    }
}

#[cfg(test)]
mod tests;
