//! The subset: of a large service, each evenkeel of a fleet keeps to a part, and every replica is in as many parts as any
//! other.
//!
//! That each evenkeel draws its part for itself, by a hash of its own name and the replica's, would not do: how many
//! evenkeels draw one replica would then be a matter of luck, and some would be drawn by none.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::{RegistryWriter, Replicas};
use crate::config::settings::SubsetSettings;
use crate::replica::{Lifecycle, Replica};
use crate::service::ServiceName;

/// What the writer keeps in order to publish a part only.
#[derive(Debug, Default)]
pub(super) struct Parting {
    /// Which; `None`: all.
    subset: Option<SubsetSettings>,
    /// The members of each service. Empty where all are published.
    rings: HashMap<ServiceName, Ring>,
    /// Services with a replica that is outside of the subset by now and has requests left.
    leaving: HashSet<ServiceName>,
}

impl Parting {
    /// Whether anything may be left out.
    pub(super) fn is_on(&self) -> bool {
        self.subset.is_some()
    }

    /// Whether a replica that left the subset is still published.
    pub(super) fn has_leavers(&self) -> bool {
        !self.leaving.is_empty()
    }
}

/// The members of one service in the order in which they are parted: by a hash of their ids, so that it is the same in
/// every evenkeel, and neighbours have nothing else in common.
#[derive(Debug, Default)]
struct Ring(Vec<(u64, Arc<Replica>)>);

impl Ring {
    fn find(&self, replica: &Replica) -> Result<usize, usize> {
        let key = (hash(replica.id().as_str()), replica.id());
        self.0.binary_search_by(|(hash, other)| (*hash, other.id()).cmp(&key))
    }

    /// Puts it where it belongs, instead of an older version of it.
    fn put(&mut self, replica: Arc<Replica>) {
        let hash = hash(replica.id().as_str());
        self.remove(&replica);
        let (Ok(index) | Err(index)) = self.find(&replica);
        self.0.insert(index, (hash, replica));
    }

    fn remove(&mut self, replica: &Replica) {
        if let Ok(index) = self.find(replica) {
            self.0.remove(index);
        }
    }

    /// The incarnations of those that this evenkeel keeps to; `None`: all. Only such count as every evenkeel knows to take
    /// requests sooner or later, so that what one of them thinks of a replica's health moves nothing.
    fn part(&self, subset: SubsetSettings) -> Option<HashSet<u64>> {
        let takes = |replica: &Replica| replica.lifecycle() != Lifecycle::Draining && replica.spec().weight > 0;
        let able: Vec<_> = self.0.iter().filter(|(_, replica)| takes(replica)).collect();
        let part = part(able.len(), subset)?;
        // It may go round the end.
        let part = able.iter().cycle().skip(part.start).take(part.len());
        Some(part.map(|(_, replica)| replica.incarnation()).collect())
    }
}

/// FNV-1a of 64 bits, which is the same on every machine and in every version of evenkeel.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// That, mixed as MurmurHash3 ends: the last letters of an id alone would not part it from those that begin like it.
fn hash(text: &str) -> u64 {
    let mix = |hash: u64, by: u64| (hash ^ (hash >> 33)).wrapping_mul(by);
    let hash = mix(mix(fnv(text), 0xff51_afd7_ed55_8ccd), 0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Which of so many replicas in a ring an evenkeel keeps to, the end perhaps beyond the last of them; `None`: all.
///
/// The ring is cut into as many pieces as there are evenkeels, and each takes the same number of pieces in a row, from its
/// own on. So every piece is taken by the same number of them, and a replica more or less moves each cut by one at most.
///
/// How many pieces is a step, at which many come or leave at once. So four fifths of the size are enough: a service of just as
/// many replicas as its fleet keeps to in all, which is where people put it, is far from one.
fn part(count: usize, subset: SubsetSettings) -> Option<Range<usize>> {
    let SubsetSettings { size, slot, slots } = subset;
    if count <= size {
        return None;
    }
    let pieces = slots.saturating_mul(size).saturating_mul(4).div_ceil(count.saturating_mul(5));
    let cut = |piece: usize| piece.saturating_mul(count) / slots.max(1);
    let own = slot.saturating_sub(1);
    (pieces < slots).then(|| cut(own)..cut(own + pieces))
}

impl RegistryWriter {
    /// Publishes only this part of services that have more replicas.
    pub fn with_subset(mut self, subset: Option<SubsetSettings>) -> Self {
        self.parting.subset = subset;
        self
    }

    pub(super) fn join_ring(&mut self, replica: Arc<Replica>) {
        if self.parting.is_on() {
            self.parting.rings.entry(replica.spec().service.clone()).or_default().put(replica);
        }
    }

    pub(super) fn leave_ring(&mut self, replica: &Replica) {
        if let Some(ring) = self.parting.rings.get_mut(&replica.spec().service) {
            ring.remove(replica);
        }
    }

    /// What of a service is to be published.
    pub(super) fn part_of(&mut self, service: &ServiceName, gone: &mut Vec<Arc<Replica>>) -> Replicas {
        let older = self.registry.replicas(service.as_str());
        let list = match self.parting.subset {
            None => self.members.get(service).cloned().unwrap_or_default(),
            Some(subset) => self.choose(subset, service, gone),
        };
        let known = self.members.get(service).map_or(0, Vec::len);
        Replicas::freeze_after(older.as_deref(), service.clone(), list).of_known(known)
    }

    /// The subset, and of those that were published before whoever drains or has
    /// requests left. Who leaves without either is `gone`: should it be chosen again, it is a newcomer, since nobody probes
    /// it meanwhile.
    fn choose(
        &mut self,
        subset: SubsetSettings,
        service: &ServiceName,
        gone: &mut Vec<Arc<Replica>>,
    ) -> Vec<Arc<Replica>> {
        let Some(members) = self.members.get_mut(service) else { return Vec::new() };
        let ring = self.parting.rings.entry(service.clone()).or_default();
        let chosen = ring.part(subset);
        let before = self.registry.replicas(service.as_str());
        let published: HashSet<_> =
            before.iter().flat_map(|replicas| replicas.list()).map(|replica| replica.incarnation()).collect();
        let mut list = Vec::with_capacity(chosen.as_ref().map_or(members.len(), HashSet::len));
        self.parting.leaving.remove(service);
        for member in members {
            let is_chosen = chosen.as_ref().is_none_or(|chosen| chosen.contains(&member.incarnation()));
            let was_published = published.contains(&member.incarnation());
            if is_chosen || (was_published && member.lifecycle() == Lifecycle::Draining) {
                member.set_aside(false);
                list.push(Arc::clone(member));
            } else if was_published {
                // In this order: a request that is not counted yet will find that out and go elsewhere.
                member.set_aside(true);
                if member.in_flight() > 0 {
                    self.parting.leaving.insert(service.clone());
                    list.push(Arc::clone(member));
                    continue;
                }
                let newcomer = Replica::new(member.spec().clone(), member.lifecycle());
                newcomer.set_drained_by_hand(member.is_drained_by_hand());
                let old = std::mem::replace(member, Arc::new(newcomer));
                ring.put(Arc::clone(member));
                if let Some(known) = self.known.get_mut(member.id()) {
                    known.replica = Arc::clone(member);
                }
                gone.push(old);
            }
        }
        list
    }

    /// The services of which a replica that left the subset has ended its last request.
    pub(super) fn left_by_requests(&self) -> HashSet<ServiceName> {
        let is_over = |service: &&ServiceName| {
            let replicas = self.registry.replicas(service.as_str());
            let mut list = replicas.iter().flat_map(|replicas| replicas.list());
            list.any(|replica| replica.is_set_aside() && replica.in_flight() == 0)
        };
        self.parting.leaving.iter().filter(is_over).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
