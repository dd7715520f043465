//! The sentence: how long a replica's ejections last.

use std::time::Duration;

use tokio::time::Instant;

/// The longest ejection, unless the first one is to last longer.
const LONGEST: Duration = Duration::from_secs(300);

/// The shortest time without an ejection that makes up for one.
const FORGIVEN: Duration = Duration::from_secs(10);

/// The ejections of one replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Sentence {
    /// How often it was ejected lately.
    depth: u32,
    /// When the ejection that it is in ends.
    until: Option<Instant>,
    /// When the last one ended.
    ended: Option<Instant>,
}

impl Sentence {
    /// When the ejection that it is in ends, if it is in one.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Begins an ejection: how often there was one lately, and how long this one lasts. The first lasts `time`, each one
    /// after it twice as long as the last; each 10 s, or `time` if that is longer, without one make up for one.
    pub(super) fn begin(&mut self, now: Instant, time: Duration) -> (u32, Duration) {
        if let Some(ended) = self.ended {
            let periods = now.saturating_duration_since(ended).as_nanos() / time.max(FORGIVEN).as_nanos();
            self.depth = self.depth.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
        }
        let doubled = 1_u32.checked_shl(self.depth).unwrap_or(u32::MAX);
        self.depth = self.depth.saturating_add(1);
        let length = time.saturating_mul(doubled).min(LONGEST.max(time));
        self.until = Some(now + length);
        (self.depth, length)
    }

    /// Ends the ejection.
    pub(super) fn end(&mut self, now: Instant) {
        (self.until, self.ended) = (None, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths, in seconds, of ejections with these seconds between the end of one and the beginning of the next.
    fn lengths(time: u64, gaps: &[u64]) -> Vec<u64> {
        let (mut sentence, mut now) = (Sentence::default(), Instant::now());
        let mut serve = |gap: &u64| {
            now += Duration::from_secs(*gap);
            let (_, length) = sentence.begin(now, Duration::from_secs(time));
            assert_eq!(sentence.until(), Some(now + length));
            now += length;
            sentence.end(now);
            assert_eq!(sentence.until(), None);
            length.as_secs()
        };
        gaps.iter().map(&mut serve).collect()
    }

    #[test]
    fn each_ejection_lasts_twice_as_long_up_to_five_minutes() {
        assert_eq!(lengths(5, &[0; 9]), [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(lengths(600, &[0; 3]), [600; 3], "what was asked for is not cut");
        assert_eq!(lengths(5, &[0; 70]).last(), Some(&300));
    }

    #[test]
    fn time_without_one_makes_up_for_it() {
        assert_eq!(lengths(5, &[0, 9, 10, 10, 19, 20, 500]), [5, 10, 10, 10, 10, 5, 5]);
        assert_eq!(lengths(60, &[0, 0, 59, 60, 120]), [60, 120, 240, 240, 120]);
    }
}
