//! What is known of one container.

use super::super::container::{Container, Run, RunState};
use super::super::evaluate::Evaluation;
use crate::change::Sighting;
use crate::discovery::verdict::Verdict;
use crate::replica::Lifecycle;

/// A container as it was described last, and what came of it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) container: Container,
    pub(super) evaluation: Evaluation,
}

impl Known {
    pub(super) fn sighting(&self) -> Option<&Sighting> {
        self.evaluation.sighting.as_ref()
    }

    /// Whether `now` must not inherit what the registry keeps for this replica: it is another run of the container,
    /// or the registry would never let it out of its drain.
    pub(super) fn is_succeeded_by(&self, now: &Self) -> bool {
        let (Some(was), Some(is)) = (self.sighting(), now.sighting()) else { return false };
        let left_drain = was.lifecycle == Lifecycle::Draining && is.lifecycle != Lifecycle::Draining;
        left_drain || !self.run().goes_on_in(&now.container)
    }

    /// Whether a list row is not enough to act on. It leaves out the ports of some containers, and after `unpause`
    /// it has them unhealthy until their next HEALTHCHECK, whatever the last one said.
    pub(super) fn is_doubtful(&self, was: Option<&Self>) -> bool {
        match self.evaluation.considered.verdict {
            Verdict::NoPort => self.container.details.is_none(),
            Verdict::Unhealthy => was.is_none_or(|was| was.container.run_state != RunState::Unhealthy),
            _ => false,
        }
    }

    pub(super) fn run(&self) -> Run {
        let network = self.sighting().and_then(|sighting| {
            // A published port is on no network; any of the container's tells its runs apart.
            sighting.spec.network.as_deref().or_else(|| self.container.networks.keys().next().map(String::as_str))
        });
        self.container.run(network)
    }
}
