//! The page of metrics is read back by a strict little parser.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::admin::tests::{Fixture, fixture};
use crate::metrics::{AcceptPause, PrefaceFault, Refusal};
use crate::replica::{Health, State};

type LabelSet = BTreeMap<String, String>;

/// What a page says, by sample name and labels; and the type of every metric.
#[derive(Debug, Default)]
struct Parsed {
    types: BTreeMap<String, String>,
    samples: BTreeMap<(String, LabelSet), f64>,
}

impl Parsed {
    /// Panics on whatever Prometheus would refuse, and on a metric torn apart or without help.
    fn new(text: &str, format: Format) -> Self {
        let body = match format {
            Format::OpenMetrics => text.strip_suffix("# EOF\n").expect("OpenMetrics ends with EOF"),
            Format::Classic => text,
        };
        assert!(body.ends_with('\n'));
        let mut parsed = Self::default();
        let (mut helped, mut metric, mut kind) = (String::new(), String::new(), String::new());
        for line in body.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
                helped = name.to_owned();
            } else if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, of) = declared.split_once(' ').unwrap();
                (metric, kind) = (name.to_owned(), of.to_owned());
                assert_eq!(metric, helped, "each type follows its help");
                assert!(parsed.types.insert(metric.clone(), kind.clone()).is_none(), "{metric} twice");
            } else {
                let (name, labels, value) = sample(line);
                let suffixes: &[&str] = match (kind.as_str(), format) {
                    ("counter", Format::OpenMetrics) => &["_total"],
                    ("counter" | "gauge", _) => &[""],
                    ("histogram", _) => &["_bucket", "_sum", "_count"],
                    _ => panic!("no such type: {kind}"),
                };
                assert!(suffixes.iter().any(|suffix| name == format!("{metric}{suffix}")), "{name} under {metric}");
                assert!(kind != "counter" || name.ends_with("_total"), "{name}");
                assert!(parsed.samples.insert((name, labels), value).is_none(), "a second time: {line}");
            }
        }
        parsed
    }

    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

/// Takes `name{key="value",…} number` apart and undoes the escapes.
fn sample(line: &str) -> (String, LabelSet, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
    let mut labels = LabelSet::new();
    while let Some(inside) = rest.strip_prefix(['{', ',']) {
        let (key, quoted) = inside.split_once("=\"").unwrap();
        let (mut value, mut chars) = (String::new(), quoted.char_indices());
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("no such escape: {c}"),
                }),
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(key.to_owned(), value).is_none(), "{key} twice: {line}");
        rest = &quoted[end + 1..];
    }
    let number = rest.strip_prefix('}').unwrap_or(rest).strip_prefix(' ').expect(line);
    (name.to_owned(), labels, number.parse().unwrap())
}

fn scraped(fixture: &Fixture, format: Format) -> Parsed {
    Parsed::new(&scrape(Arc::clone(&fixture.state), format).unwrap(), format)
}

#[test]
fn both_formats_are_valid_and_say_the_same() {
    let fixture = fixture();
    let (open, classic) = (scraped(&fixture, Format::OpenMetrics), scraped(&fixture, Format::Classic));
    let names = |parsed: &Parsed| parsed.samples.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&open), names(&classic));
    assert_eq!(open.types["evenkeel_replica_requests"], "counter");
    assert_eq!(classic.types["evenkeel_replica_requests_total"], "counter");
    assert!(open.samples.keys().all(|(_, labels)| !labels.contains_key("instance") && !labels.contains_key("job")));
}

#[test]
fn two_replicas_of_one_name_share_their_series() {
    let parsed = scraped(&fixture(), Format::Classic);
    let third = [("service", "gateway"), ("replica", "gateway-3")];
    let of_third = |name: &str, key, value| parsed.value(name, &[third[0], third[1], (key, value)]);
    assert_eq!(of_third("evenkeel_replica_requests_total", "code", "200"), Some(2.0));
    assert_eq!(of_third("evenkeel_replica_request_duration_seconds_bucket", "le", "+Inf"), Some(2.0));
    assert_eq!(parsed.value("evenkeel_replica_weight", &third), Some(1.0));
    let infos = parsed
        .samples
        .keys()
        .filter(|(name, labels)| name == "evenkeel_replica_info" && labels["replica"] == "gateway-3");
    assert_eq!(infos.count(), 2, "their facts differ, so each has its own");
}

#[test]
fn a_replica_is_counted_by_code_reason_and_duration() {
    let fixture = fixture();
    let metrics = fixture.state.registry.replicas("gateway").unwrap();
    let metrics = metrics.list()[0].metrics();
    metrics.record_ejection();
    (0..2).for_each(|_| metrics.record_panic_pick());
    let parsed = scraped(&fixture, Format::OpenMetrics);
    let first = [("service", "gateway"), ("replica", "gateway-1")];
    let with = |name: &str, key, value| parsed.value(name, &[first[0], first[1], (key, value)]);
    assert_eq!(with("evenkeel_replica_requests_total", "code", "200"), Some(2.0));
    assert_eq!(with("evenkeel_replica_requests_total", "code", "503"), Some(1.0));
    assert_eq!(with("evenkeel_replica_errors_total", "reason", "connect"), Some(1.0));
    assert_eq!(with("evenkeel_replica_errors_total", "reason", "timeout"), Some(0.0));
    assert_eq!(parsed.value("evenkeel_replica_ejections_total", &first), Some(1.0));
    assert_eq!(parsed.value("evenkeel_replica_panic_picks_total", &first), Some(2.0));
    assert_eq!(parsed.value("evenkeel_replica_requests_in_flight", &first), Some(2.0));
    assert_eq!(parsed.value("evenkeel_replica_ready", &first), Some(1.0));
    assert_eq!(parsed.value("evenkeel_replica_tunnels", &first), Some(0.0));
    assert_eq!(parsed.value("evenkeel_replica_requests_cut_total", &first), Some(0.0));
    let durations = "evenkeel_replica_request_duration_seconds";
    let buckets = ["0.0005", "0.001", "0.025", "0.05", "10.0", "+Inf"];
    let counts = buckets.map(|le| with(&format!("{durations}_bucket"), "le", le).unwrap());
    assert_eq!(counts, [0.0, 1.0, 1.0, 2.0, 2.0, 3.0]);
    assert_eq!(parsed.value(&format!("{durations}_count"), &first), Some(3.0));
    assert_eq!(parsed.value(&format!("{durations}_sum"), &first), Some(20.031));
}

#[test]
fn tunnels_are_counted_while_they_are_open_and_cuts_for_good() {
    let fixture = Fixture::empty();
    let replica = fixture.add('a', "gateway-1", 3, |_| {});
    let counts = || {
        let parsed = scraped(&fixture, Format::OpenMetrics);
        ["evenkeel_replica_tunnels", "evenkeel_replica_requests_cut_total"]
            .map(|name| parsed.value(name, &[("service", "gateway"), ("replica", "gateway-1")]).unwrap())
    };
    let (one, two) = (replica.metrics().open_tunnel(), replica.metrics().open_tunnel());
    assert_eq!(counts(), [2.0, 0.0]);
    replica.metrics().record_cut();
    drop(one);
    assert_eq!(counts(), [1.0, 1.0]);
    drop(two);
    assert_eq!(counts(), [0.0, 1.0]);
}

#[test]
fn services_show_every_state_and_the_default_one_never_goes_away() {
    let fixture = fixture();
    fixture.add('e', "web-1", 9, |spec| spec.service = "web".into());
    let counts = |fixture: &Fixture, service| {
        let parsed = scraped(fixture, Format::Classic);
        let count = |state: State| {
            parsed.value("evenkeel_service_replicas", &[("service", service), ("state", state.as_str())])
        };
        State::ALL.map(count)
    };
    assert_eq!(counts(&fixture, "gateway"), [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0].map(Some));
    assert_eq!(counts(&fixture, "web"), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(Some));
    assert_eq!(counts(&Fixture::empty(), "gateway"), [Some(0.0); 7]);
    assert_eq!(counts(&Fixture::empty(), "web"), [None; 7]);
}

#[test]
fn what_labels_hold_is_escaped() {
    let fixture = Fixture::empty();
    let odd = "a\"} evil 1\nevenkeel_fake{x=\"\\\\";
    fixture.add('a', odd, 3, |spec| spec.image = Some("im\\age\n\"".to_owned())).set_health(Health::Healthy);
    for format in [Format::OpenMetrics, Format::Classic] {
        let parsed = scraped(&fixture, format);
        assert_eq!(parsed.value("evenkeel_replica_ready", &[("service", "gateway"), ("replica", odd)]), Some(1.0));
        let (_, info) = parsed.samples.keys().find(|(name, _)| name == "evenkeel_replica_info").unwrap();
        assert_eq!((info["image"].as_str(), info["addr"].as_str()), ("im\\age\n\"", "172.18.0.3:3001"));
    }
}

#[test]
fn discovery_and_proxy_are_counted() {
    let fixture = Fixture::empty();
    let docker = [("provider", "docker")];
    let before = scraped(&fixture, Format::Classic);
    assert_eq!(before.value("evenkeel_discovery_connected", &docker), Some(0.0));
    assert_eq!(before.value("evenkeel_discovery_last_sync_timestamp_seconds", &docker), Some(0.0));

    fixture.docker.set_connected(true);
    fixture.docker.set_synced();
    fixture.docker.events.store(7, Ordering::Relaxed);
    fixture.docker.event_to_route.observe(Duration::from_millis(2));
    let proxy = &fixture.state.proxy;
    proxy.connections_open.store(3, Ordering::Relaxed);
    proxy.connections_total.store(5, Ordering::Relaxed);
    proxy.connections_refused.store(4, Ordering::Relaxed);
    proxy.retries.store(2, Ordering::Relaxed);
    proxy.record_accept_pause(AcceptPause::Limit);
    proxy.record_refusal(Refusal::NoReplicaReady);
    proxy.record_preface_fault(PrefaceFault::Missing);

    let after = scraped(&fixture, Format::Classic);
    let of_docker = |name: &str| after.value(&format!("evenkeel_discovery_{name}"), &docker);
    let counts =
        ["connected", "events_total", "resyncs_total", "reconnects_total", "decode_errors_total"].map(of_docker);
    assert_eq!(counts, [1.0, 7.0, 1.0, 0.0, 0.0].map(Some));
    assert_eq!(of_docker("event_to_route_seconds_count"), Some(1.0));
    let synced = of_docker("last_sync_timestamp_seconds").unwrap();
    assert!((unix_seconds(SystemTime::now()) - synced).abs() < 60.0, "{synced}");
    let own = ["connections_open", "connections_total", "connections_refused_total", "retries_total"];
    assert_eq!(own.map(|name| after.value(&format!("evenkeel_{name}"), &[])), [3.0, 5.0, 4.0, 2.0].map(Some));
    let pauses = ["limit", "error"].map(|reason| after.value("evenkeel_accept_pauses_total", &[("reason", reason)]));
    assert_eq!(pauses, [1.0, 0.0].map(Some));
    let faults = ["missing", "late"].map(|r| after.value("evenkeel_proxy_protocol_errors_total", &[("reason", r)]));
    assert_eq!(faults, [1.0, 0.0].map(Some));
    assert_eq!(after.value("evenkeel_refusals_total", &[("reason", "no-replica-ready")]), Some(1.0));
    assert_eq!(after.value("evenkeel_refusals_total", &[("reason", "bad-request")]), Some(0.0));
    assert_eq!(after.value("evenkeel_build_info", &[("version", "1.2.3")]), Some(1.0));
}

#[test]
fn the_documentation_lists_exactly_these_metrics() {
    let documented: BTreeSet<_> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect();
            let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
            (cells[1].clone(), cells[2].clone(), labels)
        })
        .collect();
    let parsed = scraped(&fixture(), Format::Classic);
    let labels_of = |metric: &str| {
        let of = |name: &str| name.strip_prefix(metric).is_some_and(|end| ["", "_count"].contains(&end));
        let sample = parsed.samples.keys().find(|(name, _)| of(name));
        sample.unwrap_or_else(|| panic!("no sample of {metric}")).1.keys().cloned().collect::<BTreeSet<_>>()
    };
    let written: BTreeSet<_> =
        parsed.types.iter().map(|(name, kind)| (name.clone(), kind.clone(), labels_of(name))).collect();
    assert_eq!(written, documented);
}
