//! Answers in, changes out; time is what the test says.

use super::*;
use crate::config::settings::{DnsOnEmpty, DnsQuestion, DnsRules, ReplicaDefaults};
use crate::provider::{Provider, ProviderKind};

const MOMENT: Duration = Duration::from_secs(1);

fn settings(linger: Duration) -> DnsSettings {
    DnsSettings {
        provider: Provider::named(ProviderKind::Dns, "box"),
        question: DnsQuestion::Host("box".to_owned()),
        targets: vec![DnsTarget { service: "gateway".into(), port: Some(3001) }],
        rules: DnsRules { linger, on_empty: DnsOnEmpty::Drain, ..DnsRules::default() },
        defaults: ReplicaDefaults::default(),
    }
}

/// An answer with these addresses, of weight 1.
fn answer(addrs: &[&str]) -> Found {
    let weights = addrs.iter().map(|addr| (addr.parse().unwrap(), 1)).collect();
    Found { weights, in_doubt: Families::default(), ttl: MOMENT }
}

/// Each change in short: `+` for a replica that is there, `-` for one that leaves.
fn short(changes: &[Change]) -> Vec<String> {
    let ids = |replicas: &[Sighting]| -> Vec<_> { replicas.iter().map(|one| one.spec.id.to_string()).collect() };
    let line = |change: &Change| match change {
        Change::Reset { replicas, .. } => format!("reset {}", ids(replicas).join(" ")),
        Change::Upsert { replica } => format!("+{}", replica.spec.id),
        Change::Retire { id, .. } => format!("-{id}"),
        other => panic!("{other:?}"),
    };
    changes.iter().map(line).collect()
}

/// One that has heard of 10.0.0.1 and 10.0.0.2.
fn tracker(linger: Duration, now: Instant) -> Tracker {
    let mut tracker = Tracker::new(settings(linger));
    let changes = tracker.found(&answer(&["10.0.0.1:0", "10.0.0.2:0"]), now);
    assert_eq!(short(&changes), ["reset dns:gateway@10.0.0.1:3001 dns:gateway@10.0.0.2:3001"]);
    tracker
}

#[test]
fn an_answer_is_compared_with_the_one_before() {
    let now = Instant::now();
    let mut tracker = tracker(Duration::ZERO, now);
    assert_eq!(short(&tracker.found(&answer(&["10.0.0.2:0", "10.0.0.1:0"]), now)), [""; 0], "no news");
    let changes = tracker.found(&answer(&["10.0.0.2:0", "[::1]:0"]), now);
    assert_eq!(short(&changes), ["+dns:gateway@[::1]:3001", "-dns:gateway@10.0.0.1:3001"]);
    let Change::Upsert { replica } = &changes[0] else { panic!("{changes:?}") };
    let spec = &replica.spec;
    assert_eq!((spec.addr.to_string(), spec.name.as_str()), ("[::1]:3001".to_owned(), "[::1]:3001"));
    assert_eq!(
        (replica.lifecycle, spec.weight, spec.provider.to_string()),
        (Lifecycle::Running, 1, "dns:box".to_owned())
    );
    let named: Vec<_> = tracker.considered().map(|one| one.name).collect();
    assert_eq!(named, ["10.0.0.2:3001", "[::1]:3001"]);
}

#[test]
fn a_weight_is_news_and_the_answers_port_counts_where_the_settings_have_none() {
    let now = Instant::now();
    let mut settings = settings(Duration::ZERO);
    settings.targets =
        vec![DnsTarget { service: "gateway".into(), port: None }, DnsTarget { service: "api".into(), port: Some(80) }];
    let mut tracker = Tracker::new(settings);
    let changes = tracker.found(&answer(&["10.0.0.1:7", "10.0.0.1:8"]), now);
    let ids = "dns:gateway@10.0.0.1:7 dns:api@10.0.0.1:80 dns:gateway@10.0.0.1:8 dns:api@10.0.0.1:80";
    assert_eq!(short(&changes), [format!("reset {ids}")]);
    let mut heavier = answer(&["10.0.0.1:7", "10.0.0.1:8"]);
    heavier.weights.insert("10.0.0.1:8".parse().unwrap(), 5);
    let changes = tracker.found(&heavier, now);
    assert_eq!(short(&changes), ["+dns:gateway@10.0.0.1:8", "+dns:api@10.0.0.1:80"]);
    assert!(matches!(&changes[0], Change::Upsert { replica } if replica.spec.weight == 5));
}

#[test]
fn what_may_be_missing_by_a_failure_stays() {
    let now = Instant::now();
    let mut tracker = tracker(Duration::ZERO, now);
    tracker.found(&answer(&["10.0.0.1:0", "[::1]:0"]), now);
    let in_doubt = Found { in_doubt: Families::V6, ..answer(&["10.0.0.3:0"]) };
    let changes = tracker.found(&in_doubt, now);
    assert_eq!(short(&changes), ["+dns:gateway@10.0.0.3:3001", "-dns:gateway@10.0.0.1:3001"]);
    let changes = tracker.found(&answer(&["10.0.0.3:0"]), now);
    assert_eq!(short(&changes), ["-dns:gateway@[::1]:3001"]);
}

#[test]
fn an_address_that_is_missing_now_and_then_stays_for_as_long_as_it_may_linger() {
    let start = Instant::now();
    let mut tracker = tracker(MOMENT * 5, start);
    let mut at = |second: u32, addrs: &[&str]| short(&tracker.found(&answer(addrs), start + MOMENT * second));
    for second in (0..60).step_by(4) {
        assert_eq!(at(second, &["10.0.0.1:0"]), [""; 0]);
        assert_eq!(at(second + 2, &["10.0.0.2:0"]), [""; 0]);
    }
    assert_eq!(at(60, &["10.0.0.2:0"]), [""; 0], "missing for 2 s");
    assert_eq!(at(64, &["10.0.0.2:0"]), ["-dns:gateway@10.0.0.1:3001"]);
}

#[test]
fn addresses_that_keep_coming_back_are_told_of_once() {
    let start = Instant::now();
    let mut tracker = tracker(Duration::ZERO, start);
    let mut news = 0;
    for turn in 0..20 {
        let now = start + MOMENT * turn;
        tracker.found(&answer(&["10.0.0.1:0"]), now);
        tracker.found(&answer(&["10.0.0.1:0", "10.0.0.2:0"]), now);
        news += usize::from(tracker.is_rotation_news());
    }
    assert_eq!(news, 1);

    let mut tracker = self::tracker(Duration::ZERO, start);
    for turn in 0..20 {
        let now = start + ROTATION * (2 * turn);
        tracker.found(&answer(&["10.0.0.1:0"]), now);
        tracker.found(&answer(&["10.0.0.1:0", "10.0.0.2:0"]), now + ROTATION);
        assert!(!tracker.is_rotation_news(), "an address that is given to another after a while is none");
    }
}

#[test]
fn nothing_is_the_truth_where_it_is_believed() {
    let now = Instant::now();
    let mut tracker = tracker(Duration::ZERO, now);
    let changes = tracker.emptied(now);
    assert_eq!(short(&changes), ["-dns:gateway@10.0.0.1:3001", "-dns:gateway@10.0.0.2:3001"]);
    assert_eq!(short(&tracker.emptied(now)), [""; 0]);
    assert_eq!(short(&Tracker::new(settings(Duration::ZERO)).emptied(now)), ["reset "], "and a first answer, too");
}

#[test]
fn other_defaults_hold_for_who_is_known() {
    let now = Instant::now();
    let mut tracker = tracker(Duration::ZERO, now);
    let mut other = settings(MOMENT);
    assert_eq!(short(&tracker.adopt(other.clone())), [""; 0], "a rule is no fact of a replica");
    other.defaults.drain_timeout = Some(MOMENT);
    let changes = tracker.adopt(other);
    assert_eq!(short(&changes), ["+dns:gateway@10.0.0.1:3001", "+dns:gateway@10.0.0.2:3001"]);
    assert!(matches!(&changes[0], Change::Upsert { replica } if replica.spec.drain_timeout == Some(MOMENT)));
}
