//! The registry: what the balancer may pick from, as one frozen list per service.
//!
//! One [`RegistryWriter`] applies [`Change`]s; everybody else holds a [`Registry`] and takes an `Arc` per read.
//! No map guard leaves this file, so no reader can block the writer or another reader.

#![expect(clippy::disallowed_types, reason = "this is the room that holds the map")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam_utils::CachePadded;
use dashmap::DashMap;
use tokio::sync::watch;
use tracing::info;

use crate::change::{Change, Provider, Sighting};
use crate::replica::{Lifecycle, Replica, ReplicaId};
use crate::service::ServiceName;

/// The replicas of one service, frozen: membership never changes under a reader. The replicas' own atomics
/// (lifecycle, health, in-flight) go on living.
#[derive(Debug)]
pub struct Replicas {
    service: ServiceName,
    list: Box<[Arc<Replica>]>,
    /// Round robin's place, handed on from list to list so that a change does not start the round anew.
    cursor: Arc<CachePadded<AtomicUsize>>,
}

impl Replicas {
    /// Freezes a list, ordered by container number, then name, then id.
    pub fn freeze(service: ServiceName, list: Vec<Arc<Replica>>) -> Self {
        Self::following(service, list, Arc::default())
    }

    fn following(service: ServiceName, mut list: Vec<Arc<Replica>>, cursor: Arc<CachePadded<AtomicUsize>>) -> Self {
        list.sort_by(|a, b| {
            let key = |r: &Replica| (r.spec().number.unwrap_or(u32::MAX), r.spec().name.clone(), r.id().clone());
            key(a).cmp(&key(b))
        });
        Self { service, list: list.into(), cursor }
    }

    /// The service they belong to.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The replicas in their fixed order.
    pub fn list(&self) -> &[Arc<Replica>] {
        &self.list
    }

    /// Round robin's place; only the balancer moves it.
    pub(crate) fn cursor(&self) -> &AtomicUsize {
        &self.cursor
    }
}

#[derive(Debug)]
struct Shared {
    services: DashMap<ServiceName, Arc<Replicas>>,
    version: watch::Sender<u64>,
}

/// The reader's end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

impl Registry {
    /// An empty registry and its only writer.
    pub fn new() -> (Self, RegistryWriter) {
        let registry = Self { shared: Arc::new(Shared { services: DashMap::new(), version: watch::Sender::new(0) }) };
        let writer = RegistryWriter { registry: registry.clone(), known: HashMap::new() };
        (registry, writer)
    }

    /// The service's replicas as of now; `None` if nobody ever named the service or its last replica left.
    pub fn replicas(&self, service: &str) -> Option<Arc<Replicas>> {
        self.shared.services.get(service).map(|entry| Arc::clone(entry.value()))
    }

    /// Every service's replicas as of now, ordered by name.
    pub fn services(&self) -> Vec<Arc<Replicas>> {
        let mut all: Vec<_> = self.shared.services.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_by(|a, b| a.service.cmp(&b.service));
        all
    }

    /// Wakes after membership or a lifecycle changed; the value counts those changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }
}

/// The writer's end: there is one, and it is not `Clone`.
#[derive(Debug)]
pub struct RegistryWriter {
    registry: Registry,
    /// Where each replica stands, so that `Drain` and `Remove` need only its id.
    known: HashMap<ReplicaId, (Provider, ServiceName)>,
}

impl RegistryWriter {
    /// Applies one change and says whether it changed anything. Each service's new list becomes visible in
    /// one store.
    pub fn apply(&mut self, change: Change) -> bool {
        let changed = match change {
            Change::Reset { provider, replicas } => self.reset(provider, replicas),
            Change::Upsert { provider, replica } => self.upsert(provider, vec![*replica]),
            Change::Drain { provider, id } => self.drain(provider, &id),
            Change::Remove { provider, id } => self.remove(provider, &HashSet::from([id])),
        };
        if changed {
            self.registry.shared.version.send_modify(|version| *version += 1);
        }
        changed
    }

    fn reset(&mut self, provider: Provider, replicas: Vec<Sighting>) -> bool {
        let listed: HashSet<_> = replicas.iter().map(|r| r.spec.id.clone()).collect();
        let gone = self
            .known
            .iter()
            .filter(|(id, (owner, _))| *owner == provider && !listed.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        let removed = self.remove(provider, &gone);
        let upserted = self.upsert(provider, replicas);
        removed || upserted
    }

    fn upsert(&mut self, provider: Provider, sightings: Vec<Sighting>) -> bool {
        let mut by_service: HashMap<ServiceName, Vec<Sighting>> = HashMap::new();
        for sighting in sightings {
            by_service.entry(sighting.spec.service.clone()).or_default().push(sighting);
        }
        let mut changed = false;
        for (service, sightings) in by_service {
            // A replica belongs to one service: one that moved leaves the old list first.
            let moved = sightings
                .iter()
                .map(|s| &s.spec.id)
                .filter(|id| self.known.get(*id).is_some_and(|(_, home)| *home != service))
                .cloned()
                .collect();
            changed |= self.remove(provider, &moved);
            changed |= self.upsert_into(provider, &service, sightings);
        }
        changed
    }

    fn upsert_into(&mut self, provider: Provider, service: &ServiceName, sightings: Vec<Sighting>) -> bool {
        let old = self.registry.replicas(service.as_str());
        let mut list: Vec<_> = old.as_ref().map(|r| r.list.to_vec()).unwrap_or_default();
        let mut places: HashMap<_, _> = list.iter().enumerate().map(|(i, r)| (r.id().clone(), i)).collect();
        let (mut relist, mut changed) = (false, false);
        for Sighting { spec, lifecycle } in sightings {
            match places.get(&spec.id).and_then(|place| list.get_mut(*place)) {
                None => {
                    info!(service = %service, replica = %spec.name, addr = %spec.addr, "Replica added");
                    self.known.insert(spec.id.clone(), (provider, service.clone()));
                    places.insert(spec.id.clone(), list.len());
                    list.push(Arc::new(Replica::new(spec, lifecycle)));
                    relist = true;
                }
                Some(replica) if replica.spec().addr != spec.addr => {
                    // The same container at another address was restarted: nothing of the old one holds.
                    info!(service = %service, replica = %spec.name, addr = %spec.addr, "Replica moved");
                    replica.set_lifecycle(Lifecycle::Draining);
                    *replica = Arc::new(Replica::new(spec, lifecycle));
                    relist = true;
                }
                Some(replica) => {
                    if *replica.spec() != spec {
                        *replica = Arc::new(replica.with_spec(spec));
                        relist = true;
                    }
                    changed |= advance(replica, lifecycle);
                }
            }
        }
        if relist {
            self.publish(service, list, old.as_deref());
        }
        relist || changed
    }

    fn drain(&mut self, provider: Provider, id: &ReplicaId) -> bool {
        let Some((owner, service)) = self.known.get(id) else { return false };
        let replicas = self.registry.replicas(service.as_str());
        let replica = replicas.iter().flat_map(|r| r.list()).find(|r| r.id() == id);
        *owner == provider && replica.is_some_and(|replica| advance(replica, Lifecycle::Draining))
    }

    fn remove(&mut self, provider: Provider, ids: &HashSet<ReplicaId>) -> bool {
        let mut by_service: HashMap<ServiceName, HashSet<&ReplicaId>> = HashMap::new();
        for id in ids {
            if self.known.get(id).is_some_and(|(owner, _)| *owner == provider)
                && let Some((_, service)) = self.known.remove(id)
            {
                by_service.entry(service).or_default().insert(id);
            }
        }
        for (service, ids) in &by_service {
            let Some(old) = self.registry.replicas(service.as_str()) else { continue };
            let (gone, kept): (Vec<_>, Vec<_>) = old.list.iter().cloned().partition(|r| ids.contains(r.id()));
            self.publish(service, kept, Some(&old));
            for replica in gone {
                info!(service = %service, replica = %replica.spec().name, addr = %replica.spec().addr, "Replica removed");
                // A pick that read the old list just now sees this when it claims.
                replica.set_lifecycle(Lifecycle::Draining);
            }
        }
        !by_service.is_empty()
    }

    /// The one store per change and service.
    fn publish(&self, service: &ServiceName, list: Vec<Arc<Replica>>, old: Option<&Replicas>) {
        let services = &self.registry.shared.services;
        if list.is_empty() {
            services.remove(service);
        } else {
            let cursor = old.map(|old| Arc::clone(&old.cursor)).unwrap_or_default();
            services.insert(service.clone(), Arc::new(Replicas::following(service.clone(), list, cursor)));
        }
    }
}

/// Moves a replica's lifecycle on; a draining one stays draining.
fn advance(replica: &Replica, to: Lifecycle) -> bool {
    let from = replica.lifecycle();
    if from == to || from == Lifecycle::Draining {
        return false;
    }
    replica.set_lifecycle(to);
    let event = match to {
        Lifecycle::Starting => "Replica starting",
        Lifecycle::Running => "Replica running",
        Lifecycle::Ailing => "Replica unhealthy by its HEALTHCHECK",
        Lifecycle::Paused => "Replica paused",
        Lifecycle::Draining => "Replica draining",
    };
    info!(service = %replica.spec().service, replica = %replica.spec().name, "{event}");
    true
}
