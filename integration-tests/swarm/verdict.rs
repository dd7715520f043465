//! Whether a change cost clients more than another time did: with the same done to a bystander, or with nothing done.

use std::fmt;

use integration_tests::load::Latency;

/// What is compared, in milliseconds, as finely as the tables have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tail {
    /// 999 of 1000 took no longer; to a tenth.
    pub(crate) p999: f64,
    /// All; to a whole one.
    pub(crate) worst: f64,
}

impl Tail {
    pub(crate) fn of(latency: &Latency) -> Self {
        Self { p999: (latency.p999 * 10.0).round() / 10.0, worst: latency.worst.round() }
    }

    /// The middle of several times; of an even number of them the higher one.
    pub(crate) fn middle(all: &[Self]) -> Option<Self> {
        let middle = |of: fn(&Self) -> f64| {
            let mut values: Vec<_> = all.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Self { p999: middle(|tail| tail.p999)?, worst: middle(|tail| tail.worst)? })
    }

    /// How this is beside another.
    pub(crate) fn beside(&self, other: &Self) -> Verdict {
        Verdict { p999: self.p999 <= other.p999, worst: self.worst <= other.worst }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} · {:.0}", self.p999, self.worst)
    }
}

/// Whether p99.9 and the worst are no higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    p999: bool,
    worst: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.p999, self.worst) {
            (true, true) => "no higher",
            (true, false) => "worst HIGHER",
            (false, true) => "p99.9 HIGHER",
            (false, false) => "HIGHER",
        })
    }
}

/// In how many of several rounds it was higher than in a time beside it. By chance alone that would be about half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Higher {
    p999: usize,
    worst: usize,
    rounds: usize,
}

impl Higher {
    /// Of these rounds, each with the time beside it.
    pub(crate) fn of(pairs: &[(Tail, Tail)]) -> Self {
        let count = |of: fn(&Tail) -> f64| pairs.iter().filter(|(tail, other)| of(tail) > of(other)).count();
        Self { p999: count(|tail| tail.p999), worst: count(|tail| tail.worst), rounds: pairs.len() }
    }
}

impl fmt::Display for Higher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} · {} of {}", self.p999, self.worst, self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(p999: f64, worst: f64) -> Tail {
        Tail::of(&Latency { p999, worst, ..Latency::default() })
    }

    #[test]
    fn what_the_table_does_not_tell_apart_is_no_higher() {
        for (event, other, said) in [
            (tail(94.04, 108.4), tail(93.96, 107.6), "no higher"),
            (tail(94.0, 108.0), tail(94.0, 107.0), "worst HIGHER"),
            (tail(94.1, 100.0), tail(94.0, 107.0), "p99.9 HIGHER"),
            (tail(94.0, 108.0), tail(10.4, 13.0), "HIGHER"),
        ] {
            assert_eq!(event.beside(&other).to_string(), said, "{event} beside {other}");
        }
    }

    #[test]
    fn rounds_that_were_higher_are_counted_for_each_figure() {
        let pairs = [
            (tail(12.0, 20.0), tail(11.0, 20.0)),
            (tail(12.0, 20.0), tail(12.04, 19.0)),
            (tail(10.0, 9.0), tail(12.0, 8.0)),
        ];
        assert_eq!(Higher::of(&pairs).to_string(), "1 · 2 of 3");
    }

    #[test]
    fn of_several_times_the_middle_counts_for_each_figure() {
        let times = [tail(10.0, 90.0), tail(30.0, 20.0), tail(20.0, 40.0)];
        assert_eq!(Tail::middle(&times), Some(tail(20.0, 40.0)));
        assert_eq!(Tail::middle(&times[..2]), Some(tail(30.0, 90.0)));
        assert_eq!(Tail::middle(&[]), None);
    }
}
