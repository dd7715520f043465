//! The pace: how long to wait between two probes of a replica.

use std::time::Duration;

use crate::replica::Health;

/// The pause after the first failed probe of a replica that was never healthy; each next one is half as long again.
const FIRST: Duration = Duration::from_millis(25);

/// The longest such pause.
const LONGEST: Duration = Duration::from_millis(250);

/// The shortest pause of all: an interval of zero must not keep the thread busy.
const SHORTEST: Duration = Duration::from_millis(1);

/// The pauses of one replica.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    retry: Duration,
    /// A suspect was looked at again.
    has_looked_again: bool,
    /// The interval has been kept to once.
    is_regular: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { retry: FIRST, has_looked_again: false, is_regular: false }
    }
}

impl Pace {
    /// The pause before the next probe: short but growing until the first pass, and from then on the interval,
    /// give or take a tenth so that the probes of many replicas spread out. Those that become ready together do so from the
    /// beginning: the first such pause may be as short as half of it. A suspect is looked at once more after a tenth of
    /// it: one probe that fails by chance does not take a replica out for long.
    pub(super) fn pause(&mut self, health: Health, interval: Duration) -> Duration {
        let tenth = interval / 10;
        let looks_again = health == Health::Suspect && !self.has_looked_again;
        self.has_looked_again = health == Health::Suspect;
        let pause = if health == Health::Unknown {
            let retry = self.retry;
            self.retry = retry.mul_f64(1.5).min(LONGEST);
            retry.min(interval)
        } else if looks_again {
            tenth
        } else {
            let least = if self.is_regular { tenth * 9 } else { tenth * 5 };
            self.is_regular = true;
            least.saturating_add((interval - least).saturating_add(tenth).mul_f64(fastrand::f64()))
        };
        pause.max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_slow_down_but_never_below_the_interval() {
        let pauses = |interval| {
            let mut pace = Pace::default();
            (0..8).map(|_| pace.pause(Health::Unknown, Duration::from_millis(interval)).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(2_000), [25, 37, 56, 84, 126, 189, 250, 250]);
        assert_eq!(pauses(50), [25, 37, 50, 50, 50, 50, 50, 50]);
        assert_eq!(pauses(0), [1; 8]);
    }

    #[test]
    fn a_suspect_is_soon_looked_at_again_but_once() {
        let (mut pace, interval) = (Pace::default(), Duration::from_secs(2));
        for _ in 0..2 {
            assert!(pace.pause(Health::Healthy, interval) >= interval / 2);
            assert_eq!(pace.pause(Health::Suspect, interval), interval / 10);
            assert!((0..3).all(|_| pace.pause(Health::Suspect, interval) > interval / 2));
        }
    }

    #[test]
    fn the_interval_varies_by_a_tenth() {
        for health in [Health::Healthy, Health::Unhealthy] {
            let mut pace = Pace::default();
            assert!(pace.pause(health, Duration::from_secs(2)) >= Duration::from_secs(1));
            let pauses: Vec<_> = (0..1_000).map(|_| pace.pause(health, Duration::from_secs(2))).collect();
            assert!(pace.pause(health, Duration::MAX) > Duration::MAX / 2);
            let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!((1_800..1_820).contains(&least.as_millis()), "{least:?}");
            assert!((2_180..=2_200).contains(&most.as_millis()), "{most:?}");
        }
    }

    #[test]
    fn those_that_become_ready_together_are_not_probed_together_again() {
        let first = |_| Pace::default().pause(Health::Healthy, Duration::from_secs(2)).as_millis();
        let pauses: Vec<_> = (0..1_000).map(first).collect();
        let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!((1_000..1_050).contains(least) && (2_150..=2_200).contains(most), "{least} to {most}");
    }
}
