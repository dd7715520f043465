//! A head that comes in pieces is the head that comes at once.

use std::fmt::Debug;

use evenkeel::proxy::http1::{Fields, Limits, Parsed, head};

/// At about how many places a message is cut in two: in the test at every place, unless it is long; libFuzzer brings
/// enough messages.
pub(crate) const CUTS: usize = if cfg!(test) { 256 } else { 16 };

/// Limits that an input of a few lines reaches.
const NARROW: Limits = Limits { head: 120, target: 16, fields: 4, body: u64::MAX };

/// One of the two parsers of heads.
pub(crate) trait Parser<H>: Fn(&[u8], &mut head::Scan<H>, &Limits, &mut Fields) -> Parsed<H> {}
impl<H, F: Fn(&[u8], &mut head::Scan<H>, &Limits, &mut Fields) -> Parsed<H>> Parser<H> for F {}

/// What `bytes` are when they come at once; whatever the limits, they are the same in two pieces and in single bytes.
pub(crate) fn parse<H: Copy + PartialEq + Debug>(
    bytes: &[u8],
    parser: impl Parser<H>,
    fields: &mut Fields,
) -> Parsed<H> {
    compare(bytes, &parser, &NARROW, fields);
    compare(bytes, &parser, &Limits::default(), fields)
}

fn compare<H: Copy + PartialEq + Debug>(
    bytes: &[u8],
    parser: &impl Parser<H>,
    limits: &Limits,
    fields: &mut Fields,
) -> Parsed<H> {
    let mut again = Fields::default();
    let mut in_pieces = |stops: &mut dyn Iterator<Item = usize>| {
        let mut scan = head::Scan::default();
        let mut outcome = Parsed::Incomplete;
        for stop in stops.chain([bytes.len()]) {
            outcome = parser(&bytes[..stop], &mut scan, limits, &mut again);
            if outcome != Parsed::Incomplete {
                break;
            }
        }
        let found: Vec<_> = again.iter().copied().collect();
        (outcome, if matches!(outcome, Parsed::Complete { .. }) { found } else { Vec::new() })
    };
    let whole = in_pieces(&mut std::iter::empty());
    assert_eq!(in_pieces(&mut (0..bytes.len())), whole, "byte by byte");
    for stop in (1..bytes.len()).step_by(1 + bytes.len() / CUTS) {
        assert_eq!(in_pieces(&mut std::iter::once(stop)), whole, "cut at {stop}");
    }
    parser(bytes, &mut head::Scan::default(), limits, fields)
}
