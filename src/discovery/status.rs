//! What discovery tells people about itself: is it connected, what has it considered, how quick is it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::verdict::Considered;
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
