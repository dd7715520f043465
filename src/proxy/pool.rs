//! Idle connections to replicas: one pool per worker, so nothing is locked.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::body::RequestBody;
use super::stream::Activity;
use crate::registry::Registry;
use crate::replica::{Lifecycle, Replica};

/// Idle connections kept per replica and worker.
const MAX_IDLE: usize = 64;
/// How long a connection is kept idle. Under the 60–75 s after which most programs close theirs; those that close
/// earlier (Node: 5 s) are noticed when they do.
const MAX_IDLE_AGE: Duration = Duration::from_secs(30);
/// The time between two looks for connections that are too old.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// How long a connection whose answer has ended may take to be ready again, for instance because the replica answered
/// before it had read the whole request.
const MAX_SETTLING: Duration = Duration::from_secs(5);

/// A connection to one incarnation of a replica.
#[derive(Debug)]
pub(super) struct Connection {
    /// hyper's handle.
    pub(super) sender: SendRequest<RequestBody>,
    /// What its socket has done.
    pub(super) activity: Activity,
    /// Fires when the replica has drained for as long as it may.
    pub(super) cut: CancellationToken,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// The idle connections of one worker, keyed by incarnation: a container that was restarted, or another one that got
/// its address, never meets a connection of the old one.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<u64, VecDeque<Idle>>>,
    /// What cuts the open connections to each replica.
    cuts: RefCell<HashMap<u64, Cut>>,
}

/// Cuts the connections to one replica once its drain timeout has passed.
#[derive(Debug, Default)]
struct Cut {
    token: CancellationToken,
    is_scheduled: bool,
}

impl Pool {
    /// The newest idle connection that is still open: the one least likely to be closed under us.
    pub(super) fn take(&self, incarnation: u64) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&incarnation)?;
        while let Some(Idle { connection, since }) = connections.pop_back() {
            if connection.sender.is_ready() && since.elapsed() < MAX_IDLE_AGE {
                return Some(connection);
            }
        }
        None
    }

    /// Takes a connection back whose answer has ended, as soon as it is ready for another request.
    pub(super) fn give_back(self: &Rc<Self>, replica: &Replica, mut connection: Connection) {
        let incarnation = replica.incarnation();
        if connection.sender.is_closed() || replica.lifecycle() == Lifecycle::Draining {
            return;
        }
        if connection.sender.is_ready() {
            return self.put(incarnation, connection);
        }
        let pool = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Ok(Ok(())) = timeout(MAX_SETTLING, connection.sender.ready()).await {
                pool.put(incarnation, connection);
            }
        });
    }

    fn put(&self, incarnation: u64, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(incarnation).or_default();
        if connections.len() >= MAX_IDLE {
            connections.pop_front();
        }
        connections.push_back(Idle { connection, since: Instant::now() });
    }

    /// What ends a connection to the replica when its drain timeout has passed.
    pub(super) fn cut(&self, replica: &Replica) -> CancellationToken {
        self.cuts.borrow_mut().entry(replica.incarnation()).or_default().token.clone()
    }

    /// Starts the drain timeout of a replica that drains and has connections from here.
    fn schedule_cut(&self, replica: &Replica) {
        let mut cuts = self.cuts.borrow_mut();
        if let Some(limit) = replica.spec().drain_timeout
            && let Some(cut) = cuts.get_mut(&replica.incarnation())
            && !std::mem::replace(&mut cut.is_scheduled, true)
        {
            let token = cut.token.clone();
            tokio::task::spawn_local(async move {
                sleep(limit).await;
                token.cancel();
            });
        }
    }

    /// Drops every connection to a replica that is not listed, and those that are closed or too old.
    fn sweep(&self, kept: &HashSet<u64>) {
        self.idle.borrow_mut().retain(|incarnation, connections| {
            connections.retain(|idle| !idle.connection.sender.is_closed() && idle.since.elapsed() < MAX_IDLE_AGE);
            kept.contains(incarnation) && !connections.is_empty()
        });
    }

    /// Follows the registry: idle connections to a replica go when it leaves or drains, the others when it has drained
    /// for too long. Never ends.
    pub(super) async fn follow(self: Rc<Self>, registry: Registry) {
        let mut changes = registry.watch();
        let mut tick = interval(SWEEP_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = tick.tick() => {}
            }
            let services = registry.services();
            let replicas = || services.iter().flat_map(|replicas| replicas.list());
            let (draining, kept): (Vec<_>, Vec<_>) = replicas().partition(|r| r.lifecycle() == Lifecycle::Draining);
            self.sweep(&kept.iter().map(|replica| replica.incarnation()).collect());
            draining.into_iter().for_each(|replica| self.schedule_cut(replica));
            let listed: HashSet<_> = replicas().map(|replica| replica.incarnation()).collect();
            self.cuts.borrow_mut().retain(|incarnation, _| listed.contains(incarnation));
        }
    }
}
