//! How long to wait before the next connection.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// The longest delay. A connection that lasted as long was a good one, and the next begins with the first delay again.
pub(in crate::discovery) const LONGEST: Duration = Duration::from_secs(5);
/// The longest while nobody is there to be asked. An engine that comes back brings its containers along, and requests wait.
pub(in crate::discovery) const LONGEST_WHILE_ABSENT: Duration = Duration::from_secs(1);

/// Doubling delays with jitter, so that a fleet does not fall upon an engine that comes back.
#[derive(Debug)]
pub(in crate::discovery) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The next delay: between half of the step and all of it, and no longer than `longest`.
    pub(in crate::discovery) fn next_delay(&mut self, longest: Duration) -> Duration {
        let step = self.0.min(longest);
        self.0 = (step * 2).min(LONGEST);
        step.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_cap() {
        let mut backoff = Backoff::default();
        for step in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            let (delay, step) = (backoff.next_delay(LONGEST), Duration::from_millis(step));
            assert!(delay >= step / 2 && delay <= step, "{delay:?} of {step:?}");
        }
    }

    #[test]
    fn an_engine_that_is_not_there_is_looked_for_each_second_however_long_it_takes() {
        let mut backoff = Backoff::default();
        for step in [100, 200, 400, 800, 1000, 1000, 1000] {
            let (delay, step) = (backoff.next_delay(LONGEST_WHILE_ABSENT), Duration::from_millis(step));
            assert!(delay >= step / 2 && delay <= step, "{delay:?} of {step:?}");
        }
    }
}
