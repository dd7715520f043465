//! The registry: what the balancer may pick from, as one frozen list per service.
//!
//! One [`RegistryWriter`] applies [`Change`]s; everybody else holds a [`Registry`] and takes an `Arc` per read.
//! No map guard leaves this file, so no reader can block the writer or another reader.

#![expect(clippy::disallowed_types, reason = "this is the room that holds the map")]

mod follow;
mod replicas;
mod retire;
mod schedule;
mod subset;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use dashmap::DashMap;
use rustc_hash::FxBuildHasher;
use tokio::sync::{Notify, watch};
use tracing::info;

pub(crate) use self::follow::{change_after, count, forget_unlisted};
pub use self::replicas::Replicas;
use self::replicas::order;
pub(crate) use self::schedule::Turn;
use self::subset::Parting;
use crate::change::{Change, Sighting};
use crate::provider::{Provider, ProviderKind};
use crate::replica::{Lifecycle, Replica, ReplicaId};
use crate::service::ServiceName;

#[derive(Debug)]
struct Shared {
    /// The names that are in it are the operator's, so a hash that a client could foresee does no harm.
    services: DashMap<ServiceName, Arc<Replicas>, FxBuildHasher>,
    version: watch::Sender<u64>,
    /// The same, without what only health says.
    members: watch::Sender<u64>,
    alarm: Notify,
}

/// The reader's end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

impl Registry {
    /// An empty registry and its only writer.
    pub fn new() -> (Self, RegistryWriter) {
        let (version, members) = (watch::Sender::new(0), watch::Sender::new(0));
        let shared = Shared { services: DashMap::default(), version, members, alarm: Notify::new() };
        let registry = Self { shared: Arc::new(shared) };
        let (known, members, retiring, parting) = Default::default();
        let writer = RegistryWriter { registry: registry.clone(), known, members, retiring, parting, preference: 1 };
        (registry, writer)
    }

    /// The service's replicas as of now; `None` if nobody ever named the service.
    pub fn replicas(&self, service: &str) -> Option<Arc<Replicas>> {
        self.shared.services.get(service).map(|entry| Arc::clone(entry.value()))
    }

    /// Every service's replicas as of now, ordered by name.
    pub fn services(&self) -> Vec<Arc<Replicas>> {
        let mut all: Vec<_> = self.shared.services.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_by(|a, b| a.service().cmp(b.service()));
        all
    }
}

/// The writer's end: there is one, and it is not `Clone`.
#[derive(Debug)]
pub struct RegistryWriter {
    registry: Registry,
    known: HashMap<ReplicaId, Known>,
    /// The same by service, each in its list's order, so that a change costs no look at other services.
    members: HashMap<ServiceName, Vec<Arc<Replica>>>,
    /// Who is removed after the last request.
    retiring: HashSet<(Provider, ReplicaId)>,
    /// What the weights of replicas that no peer runs are multiplied by.
    preference: u16,
    parting: Parting,
}

/// A replica with all that was said of it: the same container may be seen through a Swarm's manager and by the engine
/// that runs it.
#[derive(Debug)]
struct Known {
    replica: Arc<Replica>,
    /// At most one of each provider, in the order of the providers. Never empty.
    claims: Vec<Sighting>,
}

impl Known {
    fn find(&self, provider: &Provider) -> Result<usize, usize> {
        self.claims.binary_search_by(|claim| claim.spec.provider.cmp(provider))
    }

    fn claim_of(&mut self, provider: &Provider) -> Option<&mut Sighting> {
        self.find(provider).ok().and_then(|index| self.claims.get_mut(index))
    }
}

/// What it all comes to: the facts of the provider that is believed first, and the worst that any says of its life.
fn settled(claims: &[Sighting]) -> Option<Sighting> {
    let lifecycle = claims.iter().map(|claim| claim.lifecycle).max()?;
    Some(Sighting { spec: claims.first()?.spec.clone(), lifecycle })
}

/// What changes come to, gathered before any of it becomes visible.
#[derive(Debug, Default)]
struct Edit {
    /// Services whose list no longer holds.
    stale: HashSet<ServiceName>,
    /// Replicas that left their list, or newer facts of them.
    left: Vec<Arc<Replica>>,
    /// Replicas that join a list, or newer facts of them.
    joined: HashMap<ReplicaId, Arc<Replica>>,
    /// Replicas that nobody may pick any more.
    gone: Vec<Arc<Replica>>,
    /// Whether a lifecycle moved on: lists do not show that, but watchers want to know.
    advanced: bool,
    /// Services in which a drain began or was taken back, so that their subset is another.
    drained: HashSet<ServiceName>,
}

impl Edit {
    fn join(&mut self, replica: Arc<Replica>) {
        self.stale.insert(replica.spec().service.clone());
        self.joined.insert(replica.id().clone(), replica);
    }

    /// One that has joined in the same edit has then not been there at all.
    fn leave(&mut self, replica: Arc<Replica>) {
        self.stale.insert(replica.spec().service.clone());
        if self.joined.remove(replica.id()).is_none() {
            self.left.push(replica);
        }
    }
}

impl RegistryWriter {
    /// Multiplies the weights of all replicas that come from now on by this, those that peers run aside.
    pub fn prefer_local(&mut self, factor: u16) {
        self.preference = factor.max(1);
    }

    /// Applies one change and says whether it changed anything. Each service's new list becomes visible in
    /// one store.
    pub fn apply(&mut self, change: Change) -> bool {
        self.apply_all([change])
    }

    /// Applies changes that came together, as one.
    pub fn apply_all(&mut self, changes: impl IntoIterator<Item = Change>) -> bool {
        let mut edit = Edit::default();
        for change in changes {
            self.note(change, &mut edit);
        }
        self.finish(edit)
    }

    fn finish(&mut self, edit: Edit) -> bool {
        let changed = edit.advanced || !edit.stale.is_empty();
        self.publish(edit);
        if changed {
            self.registry.announce();
        }
        changed
    }

    fn note(&mut self, change: Change, edit: &mut Edit) {
        match change {
            Change::Reset { provider, replicas } => self.reset(&provider, replicas, edit),
            Change::Upsert { replica } => self.upsert(*replica, edit),
            Change::Drain { provider, id } => self.drain(&provider, &id, edit),
            Change::Retire { provider, id } => self.retire(&provider, &id, edit),
            Change::Remove { provider, id } => self.remove(&provider, &id, edit),
        }
    }

    fn reset(&mut self, provider: &Provider, replicas: Vec<Sighting>, edit: &mut Edit) {
        let listed: BTreeMap<_, _> = replicas.into_iter().map(|r| (r.spec.id.clone(), r)).collect();
        let is_unlisted =
            |(id, known): &(&ReplicaId, &Known)| !listed.contains_key(*id) && known.find(provider).is_ok();
        let unlisted: Vec<_> = self.known.iter().filter(is_unlisted).map(|(id, _)| id.clone()).collect();
        for id in unlisted {
            self.remove(provider, &id, edit);
        }
        for replica in listed.into_values() {
            self.upsert(replica, edit);
        }
    }

    fn upsert(&mut self, mut sighting: Sighting, edit: &mut Edit) {
        if sighting.spec.provider.kind() != ProviderKind::Peer {
            sighting.spec.weight = sighting.spec.weight.saturating_mul(self.preference);
        }
        self.take_back(&sighting, edit);
        let id = sighting.spec.id.clone();
        let Some(known) = self.known.get_mut(&id) else {
            let replica = Replica::new(sighting.spec.clone(), sighting.lifecycle);
            let spec = replica.spec();
            info!(service = %spec.service, replica = %spec.name, addr = %spec.addr, "Replica added");
            let replica = Arc::new(replica);
            edit.join(Arc::clone(&replica));
            self.known.insert(id, Known { replica, claims: vec![sighting] });
            return;
        };
        match known.find(&sighting.spec.provider) {
            Ok(index) => {
                if let Some(claim) = known.claims.get_mut(index) {
                    if claim.lifecycle == Lifecycle::Draining {
                        sighting.lifecycle = Lifecycle::Draining;
                    }
                    *claim = sighting;
                }
            }
            Err(index) => known.claims.insert(index, sighting),
        }
        settle(known, edit);
    }

    fn drain(&mut self, provider: &Provider, id: &ReplicaId, edit: &mut Edit) {
        if let Some(known) = self.known.get_mut(id)
            && let Some(claim) = known.claim_of(provider)
        {
            claim.lifecycle = Lifecycle::Draining;
            settle(known, edit);
        }
    }

    fn remove(&mut self, provider: &Provider, id: &ReplicaId, edit: &mut Edit) {
        self.retiring.remove(&(provider.clone(), id.clone()));
        let Some(known) = self.known.get_mut(id) else { return };
        let Ok(index) = known.find(provider) else { return };
        known.claims.remove(index);
        if !known.claims.is_empty() {
            settle(known, edit);
        } else if let Some(Known { replica, .. }) = self.known.remove(id) {
            let spec = replica.spec();
            info!(service = %spec.service, replica = %spec.name, addr = %spec.addr, "Replica removed");
            edit.gone.push(Arc::clone(&replica));
            edit.leave(replica);
        }
    }

    /// The one store per service.
    fn publish(&mut self, mut edit: Edit) {
        for replica in edit.left {
            self.leave_ring(&replica);
            let list = self.members.entry(replica.spec().service.clone()).or_default();
            if let Ok(index) = list.binary_search_by(|other| order(other, &replica)) {
                list.remove(index);
            }
        }
        for replica in edit.joined.into_values() {
            let list = self.members.entry(replica.spec().service.clone()).or_default();
            let index = list.binary_search_by(|other| order(other, &replica)).unwrap_or_else(|index| index);
            list.insert(index, Arc::clone(&replica));
            self.join_ring(replica);
        }
        if self.parting.is_on() {
            edit.stale.extend(edit.drained);
        }
        for service in edit.stale {
            // Empty lists stay: who lost its last replica is refused requests, which are not taken for another's.
            let replicas = self.part_of(&service, &mut edit.gone);
            self.registry.shared.services.insert(service, Arc::new(replicas));
        }
        for replica in edit.gone {
            // A pick that read the old list just now sees this when it claims.
            replica.set_lifecycle(Lifecycle::Draining);
        }
    }
}

/// Brings the replica in line with what is said of it now.
fn settle(known: &mut Known, edit: &mut Edit) {
    let Some(Sighting { spec, lifecycle }) = settled(&known.claims) else { return };
    let old = &known.replica;
    let is_moved = old.spec().addr != spec.addr || old.spec().service != spec.service;
    // Nobody says any more that it drains, so that it was restarted.
    let is_back = old.lifecycle() == Lifecycle::Draining && lifecycle != Lifecycle::Draining;
    let replica = if is_moved || is_back {
        // The same container at another address, or in another run: nothing of the old one holds.
        info!(service = %spec.service, replica = %spec.name, addr = %spec.addr, "Replica moved");
        edit.gone.push(Arc::clone(old));
        let new = Replica::new(spec, lifecycle);
        new.set_drained_by_hand(old.is_drained_by_hand());
        new
    } else {
        if advance(old, lifecycle) {
            edit.advanced = true;
            if lifecycle == Lifecycle::Draining {
                edit.drained.insert(spec.service.clone());
            }
        }
        if *old.spec() == spec {
            return;
        }
        old.with_spec(spec)
    };
    edit.leave(std::mem::replace(&mut known.replica, Arc::new(replica)));
    edit.join(Arc::clone(&known.replica));
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

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
