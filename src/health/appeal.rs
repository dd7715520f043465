//! The appeal: how many probes have to pass for an ejection to end before its time.

use crate::metrics::Fault;
use crate::replica::ProbeSpec;

/// The passes in a row of probes that began in one ejection.
#[derive(Clone, Debug, Default)]
pub(super) struct Appeal {
    ejection: u64,
    passes: u32,
}

impl Appeal {
    /// Takes in one probe more, which began while the replica was in an ejection or in none, and says whether the
    /// ejection ends with it.
    ///
    /// A replica that was ejected again and again although its probes passed has to pass more of them each time. A bare
    /// connect says that connects work, and so ends only what failed connects began.
    pub(super) fn is_granted(&mut self, passed: bool, began_in: Option<(u64, Fault, u32)>, spec: &ProbeSpec) -> bool {
        let Some((ejection, fault, depth)) = began_in else { return false };
        let before = if self.ejection == ejection { self.passes } else { 0 };
        self.ejection = ejection;
        self.passes = if passed { before.saturating_add(1) } else { 0 };
        let says_enough = spec.path.is_some() || fault == Fault::Connect;
        passed && says_enough && self.passes >= spec.healthy_threshold.saturating_mul(depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of each of these probes: `+` and `-` in an ejection of this depth, `|` where a new one begins, and
    /// `.` for a pass in none.
    fn course(path: Option<&str>, fault: Fault, depth: u32, probes: &str) -> String {
        let spec = ProbeSpec { path: path.map(str::to_owned), healthy_threshold: 2, ..ProbeSpec::default() };
        let (mut appeal, mut ejection) = (Appeal::default(), 1);
        let mut hear = |probe| {
            ejection += u64::from(probe == '|');
            let began_in = (probe != '.').then_some((ejection, fault, depth));
            appeal.is_granted(probe != '-', began_in, &spec)
        };
        probes.chars().map(|probe| if hear(probe) { 'y' } else { 'n' }).collect()
    }

    #[test]
    fn passes_in_a_row_within_one_ejection_end_it() {
        let course = |probes| course(Some("/"), Fault::Unavailable, 1, probes);
        assert_eq!(course("++"), "ny");
        assert_eq!(course("+-+-++"), "nnnnny");
        assert_eq!(course("..+."), "nnnn", "what began before it does not count");
        assert_eq!(course("+|+"), "nny", "nor what was of the last one");
    }

    #[test]
    fn who_is_ejected_again_has_to_pass_more() {
        assert_eq!(course(Some("/"), Fault::Reset, 3, "+++++++"), "nnnnnyy");
        assert_eq!(course(Some("/"), Fault::Reset, u32::MAX, "++"), "nn");
    }

    #[test]
    fn a_bare_connect_speaks_only_for_connects() {
        for fault in Fault::ALL {
            let ends = if fault == Fault::Connect { "ny" } else { "nn" };
            assert_eq!(course(None, fault, 1, "++"), ends, "{fault}");
        }
    }
}
