//! How a replica is probed, and which answers pass.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How a replica is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSpec {
    /// The path to `GET`, or [`ProbeSpec::OF_THE_PROXY`]. `None`: a TCP connect is enough.
    pub path: Option<String>,
    /// The statuses that pass.
    pub status: Statuses,
    /// The time between two probes of a replica that has been healthy once.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Passes in a row that make an unhealthy replica healthy. The very first pass is always enough.
    pub healthy_threshold: u32,
    /// Failures in a row that make a healthy replica unhealthy.
    pub unhealthy_threshold: u32,
}

impl ProbeSpec {
    /// In place of a path: what the proxy at that address answers itself, whatever stands behind it (`OPTIONS *` with
    /// `Max-Forwards: 0`; RFC 9110, section 7.6.2).
    pub const OF_THE_PROXY: &'static str = "*";
}

impl Default for ProbeSpec {
    fn default() -> Self {
        Self {
            path: None,
            status: Statuses::default(),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            healthy_threshold: 2,
            unhealthy_threshold: 3,
        }
    }
}

/// Status codes of final answers, as ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Box<[RangeInclusive<u16>]>);

/// Any 2xx or 3xx.
impl Default for Statuses {
    fn default() -> Self {
        Self([200..=299, 300..=399].into())
    }
}

impl Statuses {
    /// What the text lists, with commas in between: `200`, `2xx`, `200-299`; `None` if it is not such a list.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',').map(|piece| range(piece.trim())).collect::<Option<_>>().map(Self)
    }

    /// Whether `status` is one of them.
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx") {
        let first = code(&format!("{class}00"))?;
        return Some(first..=first + 99);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = code(first.trim())?..=code(last.trim())?;
    (!range.is_empty()).then_some(range)
}

fn code(text: &str) -> Option<u16> {
    let is_plain = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|code| is_plain && (200..=599).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_what_it_says() {
        for (text, has, has_not) in [
            ("200", &[200][..], &[199, 201, 204][..]),
            ("2xx", &[200, 299], &[199, 300]),
            ("5xx", &[500, 599], &[499, 600]),
            ("200-299,304", &[200, 250, 299, 304], &[300, 303, 305]),
            (" 204 , 401 - 403", &[204, 401, 402, 403], &[200, 400, 404]),
        ] {
            let statuses = Statuses::parse(text).unwrap();
            assert!(has.iter().all(|status| statuses.has(*status)), "{text}");
            assert!(!has_not.iter().any(|status| statuses.has(*status)), "{text}");
        }
        assert_eq!(Statuses::parse("2xx,3xx"), Some(Statuses::default()));
    }

    #[test]
    fn anything_else_is_no_list() {
        for text in ["", "200,", "ok", "20", "2000", "+20", "100", "1xx", "6xx", "xx", "2xxx", "299-200", "200-", "2x"]
        {
            assert_eq!(Statuses::parse(text), None, "{text}");
        }
    }
}
