//! How a replica stands: what its probes say, whether it is ejected, how much of its weight counts by now, and what the
//! data plane notes for those who decide on that.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Health, Lifecycle, Replica};
use crate::metrics::Fault;

/// The whole of a ramp: all of the replica's weight counts.
pub const FULL_RAMP: u16 = 256;

/// Bits of the health in the byte of the standing; above them is the fault that ejected it, from 1, or 0. One byte, so
/// that a pick reads both in one load.
const HEALTH_BITS: u8 = 2;
const HEALTH_MASK: u8 = (1 << HEALTH_BITS) - 1;

/// What every request writes.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) in_flight: AtomicU64,
    failures: AtomicU32,
}

/// Where a replica is in its turns, and what it has saved up for one. The balancer gives them their meaning.
#[derive(Debug, Default)]
pub(crate) struct TurnCell {
    pub(crate) at: AtomicU64,
    pub(crate) savings: AtomicU32,
}

/// What the policy `ewma` knows of a replica's latency: an average, 0 where there is none, and when it was written, both
/// in nanoseconds. The balancer gives them their meaning.
#[derive(Debug, Default)]
pub(crate) struct LatencyCell {
    pub(crate) average: AtomicU64,
    pub(crate) at: AtomicU64,
}

impl Replica {
    /// What its probes say, and the number of the fault that ejected it, or 0.
    pub(super) fn standing(&self) -> (Health, u8) {
        let standing = self.state.standing.load(Ordering::Acquire);
        let health = match standing & HEALTH_MASK {
            x if x == Health::Unknown as u8 => Health::Unknown,
            x if x == Health::Healthy as u8 => Health::Healthy,
            x if x == Health::Suspect as u8 => Health::Suspect,
            _ => Health::Unhealthy,
        };
        (health, standing >> HEALTH_BITS)
    }

    /// What its probes say.
    pub fn health(&self) -> Health {
        self.standing().0
    }

    /// The fault that most of its failures were when it was ejected, for as long as it is.
    pub fn ejected_by(&self) -> Option<Fault> {
        let number = usize::from(self.standing().1).checked_sub(1);
        number.and_then(|number| Fault::ALL.get(number)).copied()
    }

    /// Whether it may get a request when no replica is ready: it runs and was ready once.
    pub fn is_pickable_in_panic(&self) -> bool {
        let runs = matches!(self.lifecycle(), Lifecycle::Running | Lifecycle::Ailing) && !self.is_drained_by_hand();
        runs && !self.is_set_aside() && self.health() != Health::Unknown && self.spec.weight > 0
    }

    /// Records what the probes say now. Only `health` calls this.
    pub(crate) fn set_health(&self, health: Health) {
        self.set_standing(health, self.standing().1);
    }

    /// Ejects it for failures most of which were this fault; `depth`: how often it was lately. Only `health` calls this.
    pub(crate) fn eject(&self, fault: Fault, depth: u32) {
        self.state.ejection_depth.store(depth, Ordering::Relaxed);
        self.metrics().record_ejection();
        self.set_standing(self.health(), fault as u8 + 1);
    }

    /// Ends its ejection; failures from before no longer count as a row. Only `health` calls this.
    pub(crate) fn readmit(&self) {
        self.forget_failures();
        self.set_standing(self.health(), 0);
    }

    /// Its one writer is `health`, all of which is one thread.
    fn set_standing(&self, health: Health, fault: u8) {
        let before = self.state();
        self.state.standing.store(health as u8 | fault << HEALTH_BITS, Ordering::Release);
        self.note_transition(before);
    }

    /// The ejection that it is in: a number that no other ejection of it has, the fault, and how often it was ejected
    /// lately, this time included.
    pub(crate) fn ejection(&self) -> Option<(u64, Fault, u32)> {
        let depth = self.state.ejection_depth.load(Ordering::Relaxed);
        self.ejected_by().map(|fault| (self.metrics().ejections(), fault, depth))
    }

    /// Its share as policies count it: its weight in [`FULL_RAMP`]ths, and less while it is on its ramp.
    #[inline]
    pub fn share(&self) -> u32 {
        u32::from(self.spec.weight) * u32::from(self.state.ramp.load(Ordering::Relaxed))
    }

    /// How much of its weight counts, in [`FULL_RAMP`]ths.
    pub fn ramp(&self) -> u16 {
        self.state.ramp.load(Ordering::Relaxed)
    }

    /// Sets how much of its weight counts. Only `health` calls this.
    pub(crate) fn set_ramp(&self, ramp: u16) {
        self.state.ramp.store(ramp.clamp(1, FULL_RAMP), Ordering::Relaxed);
    }

    /// Attempts and answers in a row that failed by its fault.
    pub fn consecutive_failures(&self) -> u32 {
        self.state.load.failures.load(Ordering::Relaxed)
    }

    /// Ends the row of failures. Writes only if there is one: the line is every worker's.
    #[inline]
    pub(crate) fn forget_failures(&self) {
        let failures = &self.state.load.failures;
        if failures.load(Ordering::Relaxed) != 0 {
            failures.store(0, Ordering::Relaxed);
        }
    }

    /// Makes the row of failures one longer, and says how long it is.
    pub(crate) fn count_failure(&self) -> u32 {
        self.state.load.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// The balancer's bookkeeping of latencies; only the balancer reads or writes it.
    pub(crate) fn latency_cell(&self) -> &LatencyCell {
        &self.state.latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures::spec;
    use crate::replica::{ReplicaSpec, State};

    const HEALTHS: [Health; 4] = [Health::Unknown, Health::Healthy, Health::Suspect, Health::Unhealthy];

    #[test]
    fn health_and_ejection_leave_each_other_alone() {
        let replica = Replica::new(spec("gateway", 1), Lifecycle::Running);
        for health in HEALTHS {
            for fault in Fault::ALL.map(Some).into_iter().chain([None]) {
                replica.set_health(Health::Unknown);
                if let Some(fault) = fault {
                    replica.eject(fault, 1);
                }
                replica.set_health(health);
                assert_eq!((replica.health(), replica.ejected_by()), (health, fault));
                replica.readmit();
                assert_eq!((replica.health(), replica.ejected_by()), (health, None));
            }
        }
    }

    #[test]
    fn only_what_would_be_ready_is_ejected() {
        use Lifecycle::{Ailing, Draining, Paused, Running, Starting};
        let replica = Replica::new(spec("gateway", 1), Running);
        replica.eject(Fault::Reset, 1);
        for lifecycle in [Starting, Running, Ailing, Paused, Draining] {
            for health in HEALTHS {
                replica.set_lifecycle(lifecycle);
                replica.set_health(health);
                let is_ejected = lifecycle == Running && matches!(health, Health::Healthy | Health::Suspect);
                assert_eq!(replica.state() == State::Ejected, is_ejected, "{lifecycle:?} {health}");
                assert!(!replica.is_pickable());
            }
        }
    }

    #[test]
    fn in_panic_whoever_runs_and_was_ready_once_will_do() {
        use Lifecycle::{Ailing, Draining, Paused, Running, Starting};
        for weight in [0, 1] {
            let replica = Replica::new(ReplicaSpec { weight, ..spec("gateway", 1) }, Running);
            for lifecycle in [Starting, Running, Ailing, Paused, Draining] {
                for health in HEALTHS {
                    replica.set_lifecycle(lifecycle);
                    replica.set_health(health);
                    let will_do = weight > 0 && matches!(lifecycle, Running | Ailing) && health != Health::Unknown;
                    assert_eq!(replica.is_pickable_in_panic(), will_do, "{lifecycle:?} {health} {weight}");
                    assert!(will_do || !replica.is_pickable(), "whoever is ready will do, too");
                    replica.set_drained_by_hand(true);
                    assert!(!replica.is_pickable_in_panic() && replica.state() == State::Draining);
                    replica.set_drained_by_hand(false);
                }
            }
        }
    }

    #[test]
    fn a_share_is_never_nothing() {
        let replica = Replica::new(ReplicaSpec { weight: 3, ..spec("gateway", 1) }, Lifecycle::Running);
        assert_eq!(replica.share(), 3 * 256);
        for (ramp, share) in [(0, 3), (26, 78), (256, 768), (u16::MAX, 768)] {
            replica.set_ramp(ramp);
            assert_eq!(replica.share(), share);
        }
    }

    #[test]
    fn failures_in_a_row_are_counted_until_one_goes_well() {
        let replica = Replica::new(spec("gateway", 1), Lifecycle::Running);
        assert_eq!([(); 3].map(|()| replica.count_failure()), [1, 2, 3]);
        assert_eq!(replica.consecutive_failures(), 3);
        replica.forget_failures();
        assert_eq!((replica.consecutive_failures(), replica.count_failure()), (0, 1));
        assert_eq!(replica.ejection(), None);
        replica.eject(Fault::Timeout, 3);
        assert_eq!((replica.ejection(), replica.consecutive_failures()), (Some((1, Fault::Timeout, 3)), 1));
        replica.readmit();
        assert_eq!((replica.ejection(), replica.consecutive_failures()), (None, 0));
    }
}
