//! The balancer: picks a replica and counts the request it is given.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::registry::Registry;
use crate::replica::Replica;
use crate::service::Policy;

/// Why nothing was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// Nobody knows the service.
    #[error("no such service")]
    NoSuchService,
    /// The service has no replica that is ready and not yet tried.
    #[error("no replica is ready")]
    NoneReady,
}

/// The replicas that a request has been tried on.
#[derive(Debug, Default)]
pub struct Tried(Vec<u64>);

impl Tried {
    /// Remembers one.
    pub fn add(&mut self, replica: &Replica) {
        self.0.push(replica.incarnation());
    }
}

/// The claim for one request.
#[derive(Debug)]
pub struct Lease(Arc<Replica>);

impl Lease {
    /// The replica that was picked.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight_cell().fetch_sub(1, Ordering::Relaxed);
    }
}

/// Picks replicas.
#[derive(Debug)]
pub struct Balancer {
    registry: Registry,
    rng: RefCell<fastrand::Rng>,
}

impl Balancer {
    /// A balancer over the registry.
    pub fn new(registry: Registry, _policy: Policy, seed: u64) -> Self {
        Self { registry, rng: RefCell::new(fastrand::Rng::with_seed(seed)) }
    }

    /// Any ready replica that was not tried.
    pub fn pick(&self, service: &str, tried: &Tried) -> Result<Lease, PickError> {
        let replicas = self.registry.replicas(service).ok_or(PickError::NoSuchService)?;
        let ready: Vec<_> =
            replicas.list().iter().filter(|r| r.is_pickable() && !tried.0.contains(&r.incarnation())).collect();
        let replica = self.rng.borrow_mut().choice(ready).ok_or(PickError::NoneReady)?;
        replica.in_flight_cell().fetch_add(1, Ordering::Relaxed);
        Ok(Lease(Arc::clone(replica)))
    }
}
