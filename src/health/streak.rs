//! The streak: how often in a row probes must agree before the health changes.

use crate::replica::{Health, ProbeSpec};

/// The newest probes that had the same outcome.
#[derive(Clone, Debug, Default)]
pub(super) struct Streak {
    passed: bool,
    length: u32,
}

impl Streak {
    /// Counts one probe more and gives the health of a replica that had `health` before it.
    ///
    /// The very first pass is always enough, and a replica that never passed stays unknown. The first failure of a
    /// healthy one makes it suspect, which the next pass ends.
    pub(super) fn count(&mut self, passed: bool, health: Health, spec: &ProbeSpec) -> Health {
        self.length = if self.passed == passed { self.length.saturating_add(1) } else { 1 };
        self.passed = passed;
        match health {
            Health::Unknown if passed => Health::Healthy,
            Health::Unhealthy if passed && self.length >= spec.healthy_threshold => Health::Healthy,
            Health::Healthy | Health::Suspect if passed => Health::Healthy,
            Health::Healthy | Health::Suspect if self.length >= spec.unhealthy_threshold => Health::Unhealthy,
            Health::Healthy => Health::Suspect,
            unchanged => unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use Health::{Healthy, Suspect, Unhealthy, Unknown};

    use super::*;

    /// The health after each of the outcomes, `+` for a pass and `-` for a failure.
    fn course(from: Health, healthy: u32, unhealthy: u32, outcomes: &str) -> Vec<Health> {
        let spec = ProbeSpec { healthy_threshold: healthy, unhealthy_threshold: unhealthy, ..ProbeSpec::default() };
        let (mut streak, mut health) = (Streak::default(), from);
        let mut after = |outcome| {
            health = streak.count(outcome == '+', health, &spec);
            health
        };
        outcomes.chars().map(&mut after).collect()
    }

    #[test]
    fn counts_rises_and_falls() {
        let table = [
            (Unknown, 5, 5, "+", vec![Healthy]),
            (Unknown, 2, 2, "---+", vec![Unknown, Unknown, Unknown, Healthy]),
            (Healthy, 2, 3, "---", vec![Suspect, Suspect, Unhealthy]),
            (Healthy, 2, 3, "--+--+", [[Suspect, Suspect, Healthy]; 2].concat()),
            (Healthy, 2, 3, "--+---", vec![Suspect, Suspect, Healthy, Suspect, Suspect, Unhealthy]),
            (Unhealthy, 2, 3, "++", vec![Unhealthy, Healthy]),
            (
                Unhealthy,
                3,
                1,
                "++-+++-",
                vec![Unhealthy, Unhealthy, Unhealthy, Unhealthy, Unhealthy, Healthy, Unhealthy],
            ),
            (Healthy, 1, 1, "-+-", vec![Unhealthy, Healthy, Unhealthy]),
            (Healthy, 0, 0, "-+", vec![Unhealthy, Healthy]),
        ];
        for (from, healthy, unhealthy, outcomes, expected) in table {
            assert_eq!(course(from, healthy, unhealthy, outcomes), expected, "{from} {healthy}/{unhealthy} {outcomes}");
        }
    }
}
