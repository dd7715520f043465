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
    /// Counts a request in, before the caller checks whether the replica still takes one; `None` if it has as many as
    /// it may have. Both this and the start of a drain are sequentially consistent: either the check sees the drain, or
    /// whoever waits for the drained replica's last request sees this one.
    pub(super) fn claim(replica: &Arc<Replica>) -> Option<Self> {
        let count = replica.in_flight_cell();
        if let Some(limit) = replica.spec().max_concurrency {
            // Never more than the limit, not even for a moment: whoever waits for room and looks then would go on waiting.
            let take = |count| (count < u64::from(limit.get())).then_some(count + 1);
            count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok()?;
        } else {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Some(Self { replica: Arc::clone(replica) })
    }

    /// The replica that was picked.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }
}

impl Drop for Lease {
    /// In one order with whoever waits for room: either it sees this, or whoever ends the request sees it wait.
    fn drop(&mut self) {
        self.replica.in_flight_cell().fetch_sub(1, Ordering::SeqCst);
    }
}
