//! What the end of an attempt says of its replica, for those who eject replicas and for the policy that minds latencies.
//!
//! Where all goes well this is a comparison and a load. What is a client's fault counts neither for nor against.

use std::io::ErrorKind;

use super::download::Download;
use super::failure::Failure;
use super::worker::Worker;
use crate::balancer::Latency;
use crate::metrics::Fault;
use crate::replica::Replica;

/// Takes in an attempt that failed before the client was told a status.
pub(super) fn failed(worker: &Worker, replica: &Replica, failure: &Failure, was_reused: bool) {
    let says_nothing = match failure {
        // Replicas close idle connections, also at the moment at which a request is on its way.
        Failure::Unsent | Failure::Closed { answer_began: false, .. } => was_reused,
        // The machine has no port left for another connection; or it was given up at other news of the replica.
        Failure::Connect(error) => matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Other),
        // The host was silent once, and that was counted.
        Failure::Hasty => true,
        _ => false,
    };
    if let Some(fault) = failure.counted_as().and_then(Fault::of_attempt).filter(|_| !says_nothing) {
        count(worker, replica, fault, false);
    }
}

/// Takes in an answer that has ended, or that broke off with this failure.
#[inline]
pub(super) fn ended(worker: &Worker, replica: &Replica, status: u16, failure: Option<&Failure>) {
    match failure {
        Some(failure) => {
            if let Some(fault) = failure.counted_as().and_then(Fault::of_attempt) {
                count(worker, replica, fault, true);
            }
        }
        None => match Fault::of_status(status) {
            Some(fault) => count(worker, replica, fault, false),
            None => replica.forget_failures(),
        },
    }
}

#[cold]
fn count(worker: &Worker, replica: &Replica, fault: Fault, broke_off: bool) {
    let eject = worker.settings().eject;
    if !eject.on.contains(fault) {
        // A status that does not count is an answer like any other; of what is no answer nothing is known.
        return if fault.is_status() {
            replica.forget_failures()
        };
    }
    replica.metrics().record_fault(fault, broke_off);
    // Once is enough: whoever hears it looks again and again, as long as the row goes on.
    if replica.count_failure() == eject.failures {
        worker.context.registry.raise_alarm();
    }
}

/// Tells the balancer, if its policy minds that, how long the replica took to answer. To say that it failed is no answer.
#[inline]
pub(super) fn note_latency(worker: &Worker, replica: &Replica, download: &Download) {
    if worker.balancer.minds_latency()
        && let Some(took) = download.latency(worker.now())
    {
        let is_answered = download.status().is_some_and(|status| Fault::of_status(status).is_none());
        let latency = if is_answered { Latency::Is(took) } else { Latency::AtLeast(took) };
        worker.balancer.note_latency(replica, latency);
    }
}
