//! The labels `evenkeel.*`: what people write on a container to say how it is balanced.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::discovery::verdict::Verdict;
use crate::replica::{ProbeSpec, Statuses};

/// What all our labels begin with.
const PREFIX: &str = "evenkeel.";

/// Longer times are certainly slips, and clocks overflow somewhere.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Up to this many typing slips away, a label is taken for a misspelt one.
const NEAR: usize = 3;

/// What the labels of one container say. `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::discovery) struct Labels {
    pub(in crate::discovery) enable: Option<bool>,
    pub(in crate::discovery) service: Option<String>,
    pub(in crate::discovery) port: Option<u16>,
    pub(in crate::discovery) network: Option<String>,
    pub(in crate::discovery) weight: Option<u16>,
    pub(in crate::discovery) drain_timeout: Option<Duration>,
    pub(in crate::discovery) max_concurrency: Option<NonZeroU32>,
    health_path: Option<String>,
    health_status: Option<Statuses>,
    health_interval: Option<Duration>,
    health_timeout: Option<Duration>,
    healthy_threshold: Option<u32>,
    unhealthy_threshold: Option<u32>,
    /// A [`Verdict::BadLabel`] for each label whose value cannot be used, ordered by label.
    pub(in crate::discovery) bad: Vec<Verdict>,
    /// One sentence for each label that we do not know.
    pub(in crate::discovery) warnings: Vec<String>,
    /// Whether there is any label of ours.
    pub(in crate::discovery) is_any: bool,
}

/// Where a label's value goes. Gives back what it should have looked like when it cannot be used.
type Reader = fn(&mut Labels, &str) -> Result<(), &'static str>;

/// Every label, without the prefix.
const KNOWN: [(&str, Reader); 14] = [
    ("enable", |labels, value| read(&mut labels.enable, boolean(value), "true or false")),
    ("service", |labels, value| read(&mut labels.service, name(value), "a name without spaces")),
    ("port", |labels, value| read(&mut labels.port, value.parse().ok().filter(|p| *p > 0), "a port from 1 to 65535")),
    ("network", |labels, value| read(&mut labels.network, name(value), "a network's name")),
    ("weight", |labels, value| read(&mut labels.weight, value.parse().ok(), "a whole number from 0 to 65535")),
    ("scheme", |_, value| (value == "http").then_some(()).ok_or("http, the only one there is")),
    ("drain-timeout", |labels, value| read(&mut labels.drain_timeout, duration(value), DURATION)),
    ("max-concurrency", |labels, value| read(&mut labels.max_concurrency, value.parse().ok(), CONCURRENCY)),
    ("health.path", |labels, value| read(&mut labels.health_path, path(value), "a path like /healthz")),
    ("health.status", |labels, value| read(&mut labels.health_status, Statuses::parse(value), STATUSES)),
    ("health.interval", |labels, value| read(&mut labels.health_interval, interval(value), INTERVAL)),
    ("health.timeout", |labels, value| read(&mut labels.health_timeout, interval(value), INTERVAL)),
    ("health.healthy-threshold", |labels, value| read(&mut labels.healthy_threshold, threshold(value), THRESHOLD)),
    ("health.unhealthy-threshold", |labels, value| read(&mut labels.unhealthy_threshold, threshold(value), THRESHOLD)),
];

const DURATION: &str = "a time with its unit, at most 24h, like 500ms or 2s";
const STATUSES: &str = "statuses from 200 to 599, like 200, 2xx or 200-299,304";
const CONCURRENCY: &str = "a whole number from 1";
const INTERVAL: &str = "a time with its unit, from 10ms to 24h, like 500ms or 2s";
const THRESHOLD: &str = "a whole number from 1 to 100";

impl Labels {
    /// Reads our labels out of all of a container's.
    pub(in crate::discovery) fn parse(all: &HashMap<String, String>) -> Self {
        let ours: BTreeMap<_, _> = all.iter().filter(|(label, _)| label.starts_with(PREFIX)).collect();
        let mut labels = Self { is_any: !ours.is_empty(), ..Self::default() };
        for (label, value) in ours {
            let key = label.strip_prefix(PREFIX).unwrap_or(label);
            let Some((_, reader)) = KNOWN.iter().find(|(known, _)| *known == key) else {
                labels.warnings.push(unknown(label, key));
                continue;
            };
            if let Err(expected) = reader(&mut labels, value.trim()) {
                labels.bad.push(Verdict::BadLabel {
                    label: label.clone(),
                    value: value.clone(),
                    expected: expected.to_owned(),
                });
            }
        }
        labels
    }

    /// The probe they ask for, with `default` for what they leave open.
    pub(in crate::discovery) fn probe(&self, default: &ProbeSpec) -> ProbeSpec {
        ProbeSpec {
            path: self.health_path.clone().or_else(|| default.path.clone()),
            status: self.health_status.clone().unwrap_or_else(|| default.status.clone()),
            interval: self.health_interval.unwrap_or(default.interval),
            timeout: self.health_timeout.unwrap_or(default.timeout),
            healthy_threshold: self.healthy_threshold.unwrap_or(default.healthy_threshold),
            unhealthy_threshold: self.unhealthy_threshold.unwrap_or(default.unhealthy_threshold),
        }
    }
}

fn read<T>(place: &mut Option<T>, value: Option<T>, expected: &'static str) -> Result<(), &'static str> {
    *place = value;
    place.is_some().then_some(()).ok_or(expected)
}

fn unknown(label: &str, key: &str) -> String {
    let key = key.to_ascii_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&key, known);
    let near = KNOWN.iter().map(|(known, _)| *known).min_by_key(|known| distance(known));
    // A short label is three slips away from anything.
    match near.filter(|near| distance(near) <= NEAR.min(near.len() / 3)) {
        Some(near) => format!("unknown label {label:?} is ignored: did you mean {PREFIX}{near}?"),
        None => format!("unknown label {label:?} is ignored"),
    }
}

fn boolean(value: &str) -> Option<bool> {
    value.to_ascii_lowercase().parse().ok()
}

fn name(value: &str) -> Option<String> {
    let is_name = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic());
    is_name.then(|| value.to_owned())
}

/// It goes into a request line as it is, so nothing but visible ASCII may be in it.
fn path(value: &str) -> Option<String> {
    name(value).filter(|path| path.starts_with('/') && !path.contains('#'))
}

fn duration(value: &str) -> Option<Duration> {
    // humantime takes a bare 0; everything else needs its unit there, too.
    let has_unit = value.ends_with(|c: char| c.is_ascii_alphabetic());
    humantime::parse_duration(value).ok().filter(|duration| has_unit && *duration <= LONGEST)
}

fn interval(value: &str) -> Option<Duration> {
    duration(value).filter(|interval| *interval >= Duration::from_millis(10))
}

fn threshold(value: &str) -> Option<u32> {
    value.parse().ok().filter(|threshold| (1..=100).contains(threshold))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(labels: &[(&str, &str)]) -> Labels {
        Labels::parse(&labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn every_label_is_read() {
        let labels = parse(&[
            ("evenkeel.enable", "True"),
            ("evenkeel.service", "api"),
            ("evenkeel.port", "8080"),
            ("evenkeel.network", "back"),
            ("evenkeel.weight", "0"),
            ("evenkeel.scheme", "http"),
            ("evenkeel.drain-timeout", "1m 30s"),
            ("evenkeel.max-concurrency", "50"),
            ("evenkeel.health.path", "/healthz?deep=1"),
            ("evenkeel.health.status", "200,304"),
            ("evenkeel.health.interval", "500ms"),
            ("evenkeel.health.timeout", "2s"),
            ("evenkeel.health.healthy-threshold", "1"),
            ("evenkeel.health.unhealthy-threshold", "100"),
            ("com.docker.compose.project", "shop"),
        ]);
        assert_eq!((&labels.bad, &labels.warnings), (&vec![], &vec![]));
        assert_eq!(labels.enable, Some(true));
        assert_eq!(labels.service.as_deref(), Some("api"));
        assert_eq!(labels.port, Some(8080));
        assert_eq!(labels.network.as_deref(), Some("back"));
        assert_eq!(labels.weight, Some(0));
        assert_eq!(labels.drain_timeout, Some(Duration::from_secs(90)));
        assert_eq!(labels.max_concurrency, NonZeroU32::new(50));
        let probe = ProbeSpec {
            path: Some("/healthz?deep=1".to_owned()),
            status: Statuses::parse("200,304").unwrap(),
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(2),
            healthy_threshold: 1,
            unhealthy_threshold: 100,
        };
        assert_eq!(labels.probe(&ProbeSpec::default()), probe);
        assert_eq!(parse(&[]).probe(&probe), probe, "what labels leave open is the default's");
    }

    #[test]
    fn a_value_that_cannot_be_used_says_what_it_should_be() {
        let table = [
            ("enable", "yes", "true or false"),
            ("enable", "", "true or false"),
            ("service", "", "a name without spaces"),
            ("service", "two words", "a name without spaces"),
            ("port", "0", "a port from 1 to 65535"),
            ("port", "65536", "a port from 1 to 65535"),
            ("port", "http", "a port from 1 to 65535"),
            ("network", "", "a network's name"),
            ("weight", "-1", "a whole number from 0 to 65535"),
            ("weight", "1.5", "a whole number from 0 to 65535"),
            ("scheme", "https", "http, the only one there is"),
            ("max-concurrency", "0", CONCURRENCY),
            ("max-concurrency", "many", CONCURRENCY),
            ("drain-timeout", "10", DURATION),
            ("drain-timeout", "0", DURATION),
            ("drain-timeout", "2 days", DURATION),
            ("health.path", "healthz", "a path like /healthz"),
            ("health.path", "/a b", "a path like /healthz"),
            ("health.path", "/x\r\nHost: evil", "a path like /healthz"),
            ("health.status", "ok", STATUSES),
            ("health.status", "", STATUSES),
            ("health.interval", "0s", INTERVAL),
            ("health.interval", "999999999999years", INTERVAL),
            ("health.timeout", "1", INTERVAL),
            ("health.healthy-threshold", "0", THRESHOLD),
            ("health.unhealthy-threshold", "4294967296", THRESHOLD),
        ];
        for (key, value, expected) in table {
            let label = format!("evenkeel.{key}");
            let labels = parse(&[(&label, value)]);
            let bad = Verdict::BadLabel { label, value: value.to_owned(), expected: expected.to_owned() };
            assert_eq!(labels.bad, [bad], "{key}={value}");
        }
    }

    #[test]
    fn an_unknown_label_is_a_warning_with_the_nearest_known_one() {
        let table = [
            ("evenkeel.prot", Some("evenkeel.port")),
            ("evenkeel.Port", Some("evenkeel.port")),
            ("evenkeel.weigth", Some("evenkeel.weight")),
            ("evenkeel.enabled", Some("evenkeel.enable")),
            ("evenkeel.health_path", Some("evenkeel.health.path")),
            ("evenkeel.health.intervall", Some("evenkeel.health.interval")),
            ("evenkeel.helth.unhealthy-treshold", Some("evenkeel.health.unhealthy-threshold")),
            ("evenkeel.host", None),
            ("evenkeel.", None),
            ("evenkeel.colour", None),
        ];
        for (label, near) in table {
            let labels = parse(&[(label, "1")]);
            let hint = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
            assert_eq!(labels.warnings, [format!("unknown label {label:?} is ignored{hint}")]);
            assert_eq!(labels.bad, []);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_named(key in "[a-z.-]{0,12}", value in any::<String>(), pick in 0..KNOWN.len()) {
            for key in [key.as_str(), KNOWN[pick].0] {
                let label = format!("evenkeel.{key}");
                let labels = parse(&[(&label, &value), ("evenkeelish", &value)]);
                let is_known = KNOWN.iter().any(|(known, _)| *known == key);
                prop_assert_eq!(labels.warnings.len(), usize::from(!is_known));
                prop_assert!(labels.bad.len() <= usize::from(is_known));
                let probe = labels.probe(&ProbeSpec::default());
                prop_assert!(probe.interval > Duration::ZERO && probe.interval <= LONGEST);
            }
        }
    }
}
