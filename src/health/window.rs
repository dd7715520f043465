//! The window: what became of a replica's attempts over the last seconds.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{Fault, ReplicaMetrics};

/// How far back it goes.
pub(super) const LENGTH: Duration = Duration::from_secs(10);

/// What became of the attempts up to some moment, or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    answers: u64,
    broken_off: u64,
    faults: [u64; Fault::ALL.len()],
}

impl Outcomes {
    /// Those of a replica so far.
    pub(super) fn of(metrics: &ReplicaMetrics) -> Self {
        Self { answers: metrics.duration().count(), broken_off: metrics.broken_off(), faults: metrics.faults() }
    }

    /// Those since `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        let mut faults = self.faults;
        faults.iter_mut().zip(earlier.faults).for_each(|(now, then)| *now = now.saturating_sub(then));
        Self {
            answers: self.answers.saturating_sub(earlier.answers),
            broken_off: self.broken_off.saturating_sub(earlier.broken_off),
            faults,
        }
    }

    /// How many failed.
    pub(super) fn failed(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// How many there were. A fault that came as an answer, or in the midst of one, is among the answers.
    pub(super) fn all(&self) -> u64 {
        let unanswered: u64 =
            Fault::ALL.iter().zip(self.faults).filter(|(fault, _)| !fault.is_status()).map(|(_, count)| count).sum();
        (self.answers + unanswered).saturating_sub(self.broken_off)
    }

    /// The fault that most failures were; of equals the first.
    pub(super) fn most(&self) -> Option<Fault> {
        let counts = Fault::ALL.into_iter().zip(self.faults).filter(|(_, count)| *count > 0);
        counts.rev().max_by_key(|(_, count)| *count).map(|(fault, _)| fault)
    }
}

/// What was counted at some moments of the last seconds, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Where it begins.
    base: Outcomes,
    kept: VecDeque<(Instant, Outcomes)>,
}

impl Window {
    /// Begins anew: what was counted so far is forgotten.
    pub(super) fn restart(&mut self, counted: Outcomes) {
        self.base = counted;
        self.kept.clear();
    }

    /// Keeps what is counted now, and lets go of what is too old.
    pub(super) fn keep(&mut self, now: Instant, counted: Outcomes) {
        if self.kept.back().map_or(self.base, |(_, newest)| *newest) != counted {
            self.kept.push_back((now, counted));
        }
        while let Some((at, oldest)) = self.kept.front()
            && now.saturating_duration_since(*at) >= LENGTH
        {
            self.base = *oldest;
            self.kept.pop_front();
        }
    }

    /// What became of the attempts since the window begins, of what is counted now.
    pub(super) fn outcomes(&self, counted: &Outcomes) -> Outcomes {
        counted.since(&self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_a_failure_is_one_outcome() {
        let metrics = ReplicaMetrics::default();
        for code in [200, 503, 200, 404] {
            metrics.record_answer(code, Duration::ZERO);
        }
        metrics.record_fault(Fault::Unavailable, false);
        metrics.record_fault(Fault::Reset, true);
        metrics.record_fault(Fault::Connect, false);
        let outcomes = Outcomes::of(&metrics);
        assert_eq!((outcomes.all(), outcomes.failed()), (5, 3), "one answer broke off, one attempt had none");
    }

    #[test]
    fn the_fault_of_most_failures_is_named() {
        let metrics = ReplicaMetrics::default();
        assert_eq!(Outcomes::of(&metrics).most(), None);
        for (fault, most) in
            [(Fault::Timeout, Fault::Timeout), (Fault::Connect, Fault::Connect), (Fault::Timeout, Fault::Timeout)]
        {
            metrics.record_fault(fault, false);
            assert_eq!(Outcomes::of(&metrics).most(), Some(most));
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_let_go() {
        let (metrics, mut window, start) = (ReplicaMetrics::default(), Window::default(), Instant::now());
        let failed_at = |window: &mut Window, second| {
            window.keep(start + Duration::from_secs(second), Outcomes::of(&metrics));
            window.outcomes(&Outcomes::of(&metrics)).failed()
        };
        metrics.record_fault(Fault::Reset, false);
        assert_eq!(failed_at(&mut window, 0), 1);
        metrics.record_fault(Fault::Reset, false);
        assert_eq!(failed_at(&mut window, 5), 2);
        assert_eq!([9, 10, 14, 15].map(|second| failed_at(&mut window, second)), [2, 1, 1, 0]);
        assert!(window.kept.is_empty(), "who is idle costs nothing");
        metrics.record_fault(Fault::Reset, false);
        window.restart(Outcomes::of(&metrics));
        assert_eq!(failed_at(&mut window, 16), 0);
    }
}
