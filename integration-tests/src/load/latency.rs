//! How long requests took.

use serde::{Deserialize, Serialize};

/// Of some requests, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// All.
    pub worst: f64,
}

impl Latency {
    /// Of what each took in microseconds; 0 of none.
    pub fn of(micros: impl Iterator<Item = u64>) -> Self {
        let mut micros: Vec<_> = micros.collect();
        micros.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (micros.len() * per_mille).div_ceil(1_000).max(1);
            micros.get(rank - 1).map_or(0.0, |micros| *micros as f64 / 1_000.0)
        };
        Self { p50: at(500), p99: at(990), p999: at(999), worst: at(1_000) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sorted() {
        let latency = Latency::of((1..=2_000).rev().map(|millis| millis * 1_000));
        assert_eq!((latency.p50, latency.p99, latency.p999, latency.worst), (1_000.0, 1_980.0, 1_998.0, 2_000.0));
        assert_eq!(Latency::of(std::iter::empty()), Latency::default());
    }
}
