//! What discovery tells people about itself: is it connected, what has it considered, how quick is it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::warn;

use super::verdict::{Considered, Verdict};
use crate::metrics::Histogram;
use crate::provider::Provider;
use crate::replica::ReplicaId;

/// The state of one provider, written by it and read by the admin room.
#[derive(Debug)]
pub struct DiscoveryStatus {
    provider: Provider,
    connected: AtomicBool,
    synced: AtomicBool,
    /// Streams or lists that ended in an error, so that a new connection was needed.
    pub reconnects: AtomicU64,
    /// Full relists that succeeded.
    pub resyncs: AtomicU64,
    /// Events and answers that could not be decoded.
    pub decode_errors: AtomicU64,
    /// Events received.
    pub events: AtomicU64,
    /// From an event's arrival to its change being visible in the registry.
    pub event_to_route: Histogram,
    last_sync: Mutex<Option<SystemTime>>,
    considered: Mutex<BTreeMap<ReplicaId, Considered>>,
}

impl DiscoveryStatus {
    /// That of a provider which has done nothing yet.
    pub fn new(provider: Provider) -> Self {
        Self {
            provider,
            connected: AtomicBool::default(),
            synced: AtomicBool::default(),
            reconnects: AtomicU64::default(),
            resyncs: AtomicU64::default(),
            decode_errors: AtomicU64::default(),
            events: AtomicU64::default(),
            event_to_route: Histogram::default(),
            last_sync: Mutex::default(),
            considered: Mutex::default(),
        }
    }

    /// Whose it is.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Records that what it follows was lost, so that a new connection is needed.
    pub fn lose(&self) {
        self.set_connected(false);
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether its first full list is still to come, and nothing has gone wrong yet.
    pub fn is_first_sync_under_way(&self) -> bool {
        !self.is_synced() && self.reconnects.load(Ordering::Relaxed) == 0
    }

    /// Whether the event stream is up and the newest relist succeeded.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Records whether the event stream is up.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    /// Whether a first relist has been applied to the registry.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Records that a full relist has been applied to the registry, now.
    pub fn set_synced(&self) {
        *lock(&self.last_sync) = Some(SystemTime::now());
        self.resyncs.fetch_add(1, Ordering::Relaxed);
        self.synced.store(true, Ordering::Release);
    }

    /// When the newest relist was applied.
    pub fn last_sync(&self) -> Option<SystemTime> {
        *lock(&self.last_sync)
    }

    /// Every container that was considered, ordered by service, then name.
    pub fn considered(&self) -> Vec<Considered> {
        let mut all: Vec<_> = lock(&self.considered).values().cloned().collect();
        all.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        all
    }

    /// The verdict on one container.
    pub fn considered_one(&self, id: &ReplicaId) -> Option<Considered> {
        lock(&self.considered).get(id).cloned()
    }

    /// Logs what somebody has to do something about, once, not at each resync; `left_out` says of what.
    fn tell(&self, considered: &Considered, left_out: &str) {
        let Considered { id, name, verdict, warnings, .. } = considered;
        let before = self.considered_one(id);
        if verdict.is_misconfigured() && before.as_ref().is_none_or(|before| before.verdict != *verdict) {
            warn!(replica = %name, cause = %verdict, "{left_out} left out");
        }
        if before.is_none_or(|before| before.warnings != *warnings) && *verdict != Verdict::OneOff {
            warnings.iter().for_each(|warning| warn!(replica = %name, cause = %warning, "Label ignored"));
        }
    }

    /// Records one verdict on a `kind` of thing, and logs it if it is news that somebody has to act on.
    pub fn note(&self, considered: Considered, kind: &str) {
        self.tell(&considered, kind);
        self.consider(considered);
    }

    /// The same of every verdict of a relist, in place of all before.
    pub fn note_all(&self, all: Vec<Considered>, kind: &str) {
        all.iter().for_each(|considered| self.tell(considered, kind));
        self.consider_all(all);
    }

    /// Records one verdict.
    pub fn consider(&self, considered: Considered) {
        lock(&self.considered).insert(considered.id.clone(), considered);
    }

    /// Records every verdict of a relist, in place of all before.
    pub fn consider_all(&self, all: impl IntoIterator<Item = Considered>) {
        *lock(&self.considered) = all.into_iter().map(|c| (c.id.clone(), c)).collect();
    }

    /// Forgets a container that is gone.
    pub fn forget(&self, id: &ReplicaId) {
        lock(&self.considered).remove(id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
