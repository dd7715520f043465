//! What the rounds come to.

use std::fmt;

use serde::Serialize;

/// The middle and the ends of some figures; the median, because a single round can be 40 % off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// `None` of no figures.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let upper = sorted.get(sorted.len() / 2)?;
        let lower = sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: (upper + lower) / 2.0, min: *sorted.first()?, max: *sorted.last()? })
    }

    /// Of each round's figure divided by the other's in the same round.
    pub(crate) fn of_ratios(figures: &[f64], others: &[f64]) -> Option<Self> {
        let ratios: Vec<_> = figures.iter().zip(others).map(|(figure, other)| figure / other).collect();
        Self::of(&ratios)
    }
}

/// `median (min–max)`, with the precision that was asked for.
impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = formatter.precision().unwrap_or(2);
        let Self { median, min, max } = self;
        write!(formatter, "{median:.precision$} ({min:.precision$}–{max:.precision$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[3.0, 1.0, 9.0]), Some(Summary { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(format!("{:.1}", Summary::of(&[4.0, 1.0, 2.0, 9.0]).unwrap()), "3.0 (1.0–9.0)");
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The second round ran on a machine half as fast: the ratio does not show it.
        let ratios = Summary::of_ratios(&[8.0, 16.0], &[10.0, 20.0]).unwrap();
        assert_eq!(format!("{ratios}"), "0.80 (0.80–0.80)");
    }
}
