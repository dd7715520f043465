//! The histogram of durations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds. The last bucket, `+Inf`, is not listed.
pub const BUCKETS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The same bounds in nanoseconds, for comparing without floats.
const BUCKET_NANOS: [u64; BUCKETS.len()] = {
    let mut nanos = [0; BUCKETS.len()];
    let mut i = 0;
    while i < BUCKETS.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            nanos[i] = (BUCKETS[i] * 1e9) as u64;
        }
        i += 1;
    }
    nanos
};

/// A histogram of durations with fixed buckets: three relaxed adds per observation, no lock.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Adds one observation.
    pub fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let place = BUCKET_NANOS.partition_point(|bound| *bound < nanos);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Observations in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The counts of each bucket (not cumulative; the last is `+Inf`) and the sum in seconds.
    pub fn read(&self) -> ([u64; BUCKETS.len() + 1], f64) {
        let sum = Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)).as_secs_f64();
        (std::array::from_fn(|i| self.buckets.get(i).map_or(0, |b| b.load(Ordering::Relaxed))), sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        for (place, bound) in BUCKETS.into_iter().enumerate() {
            let (histogram, bound) = (Histogram::default(), Duration::from_secs_f64(bound));
            histogram.observe(bound);
            histogram.observe(bound + Duration::from_nanos(1));
            let (counts, sum) = histogram.read();
            assert_eq!((counts[place], counts[place + 1]), (1, 1), "{bound:?}");
            assert_eq!(sum, (bound * 2 + Duration::from_nanos(1)).as_secs_f64());
        }
    }

    #[test]
    fn the_ends_are_open() {
        let histogram = Histogram::default();
        histogram.observe(Duration::ZERO);
        histogram.observe(Duration::from_secs(86_400));
        let (counts, _) = histogram.read();
        assert_eq!((counts[0], counts[BUCKETS.len()], counts.iter().sum::<u64>()), (1, 1, 2));
    }

    #[test]
    fn the_longest_duration_does_not_panic() {
        let histogram = Histogram::default();
        histogram.observe(Duration::MAX);
        assert_eq!(histogram.read().0[BUCKETS.len()], 1);
    }
}
