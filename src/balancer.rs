//! The balancer: picks a replica for a request and hands out the claim on it.
//!
//! Each worker thread has a [`Balancer`] of its own. They share nothing but the registry's lists and the atomics
//! of the replicas, so a pick takes no lock that another worker or the control plane could hold for long.

mod lease;
mod policy;
mod turn;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use thiserror::Error;

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
    /// Each of its replicas is starting, unhealthy, paused, draining, of weight 0, or already tried.
    #[error("no replica of service {0} is ready")]
    NoneReady(ServiceName),
    /// Those that are ready, and not tried, have as many requests as they may have.
    #[error("no replica of service {0} has room for another request")]
    NoRoom(ServiceName),
}

/// The replicas that one request was already sent to, so that a retry goes elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<u64>);

impl Tried {
    /// Notes an attempt at `replica`.
    pub fn add(&mut self, replica: &Replica) {
        self.0.push(replica.incarnation());
    }

    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `replica`, in this or an older version of its facts, was tried.
    pub fn contains(&self, replica: &Replica) -> bool {
        self.0.contains(&replica.incarnation())
    }
}

/// Picks replicas for the requests of one worker thread.
pub struct Balancer {
    registry: Registry,
    policy: Policy,
    rng: RefCell<Rng>,
}

impl Balancer {
    /// A balancer over `registry`; the same seed makes the same draws.
    pub fn new(registry: Registry, policy: Policy, seed: u64) -> Self {
        Self { registry, policy, rng: RefCell::new(Rng::with_seed(seed)) }
    }

    /// Picks a ready replica that is not in `tried` and claims it.
    ///
    /// # Errors
    /// [`PickError`] if the service is unknown or none of its replicas may take the request now.
    pub fn pick(&self, service: &str, tried: &Tried) -> Result<Lease, PickError> {
        let read = || self.registry.replicas(service).ok_or_else(|| PickError::NoSuchService(service.into()));
        let mut replicas = read()?;
        loop {
            if let Some(lease) = self.pick_from(&replicas, tried) {
                return Ok(lease);
            }
            // Perhaps there is no ready replica only because others took the place of all that were.
            let newer = read()?;
            if Arc::ptr_eq(&newer, &replicas) {
                let service = newer.service().clone();
                let is_full = newer.list().iter().any(|replica| replica.is_pickable() && !tried.contains(replica));
                return Err(if is_full { PickError::NoRoom(service) } else { PickError::NoneReady(service) });
            }
            replicas = newer;
        }
    }

    /// Whether a replica that is not in `tried` is ready and has room.
    pub fn has_other(&self, service: &str, tried: &Tried) -> bool {
        let fits = |replica: &Arc<Replica>| replica.is_pickable() && replica.has_room() && !tried.contains(replica);
        self.registry.replicas(service).is_some_and(|replicas| replicas.list().iter().any(fits))
    }

    fn pick_from(&self, replicas: &Replicas, tried: &Tried) -> Option<Lease> {
        let rng = &mut *self.rng.borrow_mut();
        // A claim fails only on a replica that stopped being ready, or got its last request, since it was chosen.
        for _ in 0..replicas.list().len() {
            if let Some(lease) = Lease::claim(policy::choose(self.policy, replicas, tried, rng)?)
                && lease.replica().is_pickable()
            {
                return Some(lease);
            }
        }
        None
    }
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
