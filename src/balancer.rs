//! The balancer: picks a replica for a request and hands out the claim on it.
//!
//! Each worker thread has a [`Balancer`] of its own. They share nothing but the registry's lists and the atomics
//! of the replicas, so a pick takes no lock that another worker or the control plane could hold for long.

mod latency;
mod lease;
mod policy;
mod turn;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use thiserror::Error;

pub use self::latency::Latency;
use self::latency::Moment;
pub use self::lease::Lease;
use crate::registry::{Registry, Replicas};
use crate::replica::Replica;
use crate::service::{Policy, ServiceName};

/// Why no replica could be picked. Neither is the client's fault; both may pass.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PickError {
    /// Nobody ever named the service.
    #[error("no replica of service {0} was ever seen")]
    NoSuchService(ServiceName),
    /// Each of its replicas is starting, paused, draining, of weight 0, was never healthy, or was already tried.
    #[error("no replica of service {0} is ready")]
    NoneReady(ServiceName),
    /// Those that are ready, and not tried, have as many requests as they may have.
    #[error("no replica of service {0} has room for another request")]
    NoRoom(ServiceName),
}

/// Where one request does not go: the replicas that it was already sent to, so that a retry goes elsewhere, and every
/// peer if it came from one.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// With each, whether it may be tried again before one that is not ready.
    list: Vec<(u64, bool)>,
    is_from_peer: bool,
}

impl Tried {
    /// For a request that came from a peer, and so goes to no peer.
    pub fn from_peer() -> Self {
        Self { list: Vec::new(), is_from_peer: true }
    }

    /// Notes an attempt at `replica`.
    pub fn add(&mut self, replica: &Replica) {
        self.list.retain(|(incarnation, _)| *incarnation != replica.incarnation());
        self.list.push((replica.incarnation(), false));
    }

    /// Notes an attempt at `replica` that failed on a kept connection, which may have been all that was dead.
    pub fn add_kept(&mut self, replica: &Replica) {
        self.list.push((replica.incarnation(), true));
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether `replica`, in this or an older version of its facts, was tried.
    pub fn contains(&self, replica: &Replica) -> bool {
        self.list.iter().any(|(incarnation, _)| *incarnation == replica.incarnation())
    }

    /// Whether there is no point in trying `replica` again.
    fn rules_out(&self, replica: &Replica) -> bool {
        self.list.contains(&(replica.incarnation(), false))
    }
}

/// Picks replicas for the requests of one worker thread.
pub struct Balancer {
    registry: Registry,
    policy: Cell<Policy>,
    rng: RefCell<Rng>,
}

impl Balancer {
    /// A balancer over `registry`; the same seed makes the same draws.
    pub fn new(registry: Registry, policy: Policy, seed: u64) -> Self {
        Self { registry, policy: Cell::new(policy), rng: RefCell::new(Rng::with_seed(seed)) }
    }

    /// Picks a ready replica that is not in `tried` and claims it. Where there is none, one will do that was tried on a
    /// kept connection only; and where there is none of those either, one that runs and was ready once: its requests
    /// may fail, but a refusal is sure to.
    ///
    /// # Errors
    /// [`PickError`] if the service is unknown or none of its replicas may take the request now.
    pub fn pick(&self, service: &str, tried: &Tried) -> Result<Lease, PickError> {
        let read = || self.replicas(service, tried).ok_or_else(|| PickError::NoSuchService(service.into()));
        let mut replicas = read()?;
        loop {
            if let Some(lease) = self.pick_from(&replicas, Replica::is_pickable, |replica| tried.contains(replica)) {
                return Ok(lease);
            }
            // Perhaps there is no ready replica only because others took the place of all that were.
            let newer = read()?;
            if Arc::ptr_eq(&newer, &replicas) {
                return self.pick_anyhow(&newer, tried);
            }
            replicas = newer;
        }
    }

    /// Picks from a list in which no replica is ready that has room and was not tried. Who is ready and has no room for
    /// now is worth waiting for; nobody is picked in panic beside it.
    #[cold]
    fn pick_anyhow(&self, replicas: &Replicas, tried: &Tried) -> Result<Lease, PickError> {
        let is_ruled_out = |replica: &Replica| tried.rules_out(replica);
        if let Some(lease) = self.pick_from(replicas, Replica::is_pickable, is_ruled_out) {
            return Ok(lease);
        }
        let has =
            |fits: fn(&Replica) -> bool| replicas.list().iter().any(|replica| fits(replica) && !is_ruled_out(replica));
        if !has(Replica::is_pickable)
            && let Some(lease) = self.pick_from(replicas, Replica::is_pickable_in_panic, is_ruled_out)
        {
            lease.replica().metrics().record_panic_pick();
            return Ok(lease);
        }
        let service = replicas.service().clone();
        let is_full = has(Replica::is_pickable_in_panic);
        Err(if is_full { PickError::NoRoom(service) } else { PickError::NoneReady(service) })
    }

    /// Whether a replica other than `holder`, which has the request, and those in `tried` is ready and has room.
    pub fn has_other(&self, service: &str, tried: &Tried, holder: &Replica) -> bool {
        let is_holder = |replica: &Replica| replica.incarnation() == holder.incarnation();
        let fits = |replica: &Replica| replica.is_pickable() && !is_holder(replica) && !tried.contains(replica);
        self.replicas(service, tried).is_some_and(|replicas| has_room_at(&replicas, fits))
    }

    /// Whether there is a replica that has room and could be picked, be it in panic.
    pub fn has_any(&self, service: &str) -> bool {
        self.registry.replicas(service).is_some_and(|replicas| has_room_at(&replicas, Replica::is_pickable_in_panic))
    }

    /// Whether there is a replica that could be picked, be it in panic or once it has room.
    pub fn serves(&self, service: &str) -> bool {
        let may_serve = |replica: &Arc<Replica>| replica.is_pickable_in_panic();
        self.registry.replicas(service).is_some_and(|replicas| replicas.list().iter().any(may_serve))
    }

    /// The replicas among which the request may choose.
    fn replicas(&self, service: &str, tried: &Tried) -> Option<Arc<Replicas>> {
        let replicas = self.registry.replicas(service)?;
        Some(if tried.is_from_peer { replicas.local() } else { replicas })
    }

    fn pick_from(
        &self,
        replicas: &Replicas,
        may_take: impl Fn(&Replica) -> bool,
        is_out: impl Fn(&Replica) -> bool,
    ) -> Option<Lease> {
        let rng = &mut *self.rng.borrow_mut();
        // A claim fails only on a replica that stopped to be pickable, or got its last request, since it was chosen.
        for _ in 0..replicas.list().len() {
            let fits = |replica: &Replica| may_take(replica) && replica.has_room() && !is_out(replica);
            if let Some(lease) = Lease::claim(policy::choose(self.policy.get(), replicas, fits, rng, Moment::now)?)
                && may_take(lease.replica())
            {
                return Some(lease);
            }
        }
        None
    }

    /// Picks by another policy from now on.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.set(policy);
    }

    /// Whether the policy wants to know of latencies.
    #[inline]
    pub fn minds_latency(&self) -> bool {
        self.policy.get() == Policy::Ewma
    }

    /// Notes what an attempt at `replica` says of its latency.
    pub fn note_latency(&self, replica: &Replica, latency: Latency) {
        latency::note(replica, latency, Moment::now());
    }
}

/// Whether a replica that `may_take` the request has room for it.
fn has_room_at(replicas: &Replicas, may_take: impl Fn(&Replica) -> bool) -> bool {
    replicas.list().iter().any(|replica| may_take(replica) && replica.has_room())
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("policy", &self.policy.get()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
