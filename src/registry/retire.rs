//! Replicas that nobody names any more, though nothing says that they stop: they finish what they have, and go then.

use tracing::info;

use super::{Edit, RegistryWriter};
use crate::change::Sighting;
use crate::provider::Provider;
use crate::replica::{Lifecycle, ReplicaId};

impl RegistryWriter {
    /// Lets a replica go after its last request; at once, as far as this provider is concerned, if another names it, too.
    pub(super) fn retire(&mut self, provider: &Provider, id: &ReplicaId, edit: &mut Edit) {
        let Some(known) = self.known.get(id).filter(|known| known.find(provider).is_ok()) else { return };
        if known.claims.len() > 1 {
            return self.remove(provider, id, edit);
        }
        self.retiring.insert((provider.clone(), id.clone()));
        self.drain(provider, id, edit);
    }

    /// Ends the retirement of a replica that its provider names again, or another one in its place. It was not told to stop,
    /// so what it has goes on.
    pub(super) fn take_back(&mut self, sighting: &Sighting, edit: &mut Edit) {
        if self.retiring.is_empty() {
            return;
        }
        let Sighting { spec, lifecycle } = sighting;
        let Some(known) = self.known.get_mut(&spec.id) else { return };
        // Who retires has no other claim.
        let [claim] = known.claims.as_mut_slice() else { return };
        if !self.retiring.remove(&(claim.spec.provider.clone(), spec.id.clone())) {
            return;
        }
        claim.spec.provider = spec.provider.clone();
        claim.lifecycle = *lifecycle;
        if *lifecycle != Lifecycle::Draining {
            info!(service = %spec.service, replica = %spec.name, "Replica named again");
            known.replica.set_lifecycle(*lifecycle);
            edit.advanced = true;
            edit.drained.insert(spec.service.clone());
        }
    }

    /// Whether any replica is to be removed, or to leave the subset, after its last request.
    pub fn has_retiring(&self) -> bool {
        !self.retiring.is_empty() || self.parting.has_leavers()
    }

    /// Removes the replicas whose last request was waited for and has ended, or publishes them no more.
    pub fn remove_retired(&mut self) {
        // It drains, so that a request which is counted later will find that out and go elsewhere.
        let is_idle = |id| self.known.get(id).is_none_or(|known| known.replica.in_flight() == 0);
        let idle: Vec<_> = self.retiring.iter().filter(|(_, id)| is_idle(id)).cloned().collect();
        let mut edit = Edit { stale: self.left_by_requests(), ..Edit::default() };
        for (provider, id) in idle {
            self.remove(&provider, &id, &mut edit);
        }
        self.finish(edit);
    }
}

#[cfg(test)]
mod tests;
