//! The lease: the claim of one request on one replica.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::replica::Replica;

/// One request in flight at a replica. To be dropped when the answer's body has ended, not when its head came.
#[derive(Debug)]
#[must_use = "a lease that is dropped at once counts nothing"]
pub struct Lease {
    replica: Arc<Replica>,
}

impl Lease {
    /// Counts a request in, before the caller checks whether the replica still takes one. Both this and the
    /// start of a drain are sequentially consistent: either the check sees the drain, or whoever waits for the
    /// drained replica's last request sees this one.
    pub(super) fn claim(replica: &Arc<Replica>) -> Self {
        replica.in_flight_cell().fetch_add(1, Ordering::SeqCst);
        Self { replica: Arc::clone(replica) }
    }

    /// The replica that was picked.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.replica.in_flight_cell().fetch_sub(1, Ordering::Release);
    }
}
