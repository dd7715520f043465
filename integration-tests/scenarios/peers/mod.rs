//! Three hosts without a Swarm, each with an evenkeel for which the others are peers: a request to any of them reaches
//! every replica evenly, what changes on one is known to all at once, and a host that is lost costs nobody a request.

mod by_name;
mod fleet;
mod posts;

use std::time::Duration;

use integration_tests::client::Client;
use integration_tests::eventually;
use integration_tests::lab::{Lab, Plan};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Admin, Load, PATIENCE, Replica, run_gateway};
use fleet::{Fleet, addresses, peer};

/// What each host has: so different that who takes all hosts for equal is found out.
const REPLICAS: [usize; 3] = [3, 2, 1];
const REQUESTS: u64 = 6_000;
/// From a replica that is ready for its own host to the same at the others.
const SPREAD: Duration = Duration::from_millis(100);
/// So long may a request take while a host is lost.
const LOST: Duration = Duration::from_secs(2);
const TOKEN: &str = "sesame-open-wide-for-all-of-us";

#[test]
fn a_request_to_any_host_reaches_all_and_a_lost_host_costs_none() {
    let plan = Plan { images: &["evenkeel-replica:local"], ..Plan::default() };
    Lab::with(&plan, async |lab| {
        let mut fleet = Fleet::begin(lab, REPLICAS, &[]);
        fleet.start_all(&addresses(lab), &[]).await;
        for host in 1..=3 {
            all_have_their_shares(&fleet, host, 1).await;
        }
        forged_fields_change_nothing(&fleet, &["gateway", "nobody", ""]).await;

        fleet.start_all(&addresses(lab), &[format!("--peer-token={TOKEN}")]).await;
        forged_fields_change_nothing(&fleet, &["gateway", "gateway sesame-open-wide", &format!("{TOKEN} gateway")])
            .await;
        for number in [3, 4] {
            let start = || drop(run_gateway(&fleet.lab.node(2).engine, number, &[]));
            told_at_once(&fleet, 2, number, start).await;
        }
        for number in [4, 3] {
            let stop = || drop(fleet.lab.node(2).engine.docker(&["stop", &format!("gateway-{number}")]));
            told_at_once(&fleet, 2, number - 1, stop).await;
        }
        fleet.until_agreed().await;
        a_host_without_replicas_is_served_by_the_others(&fleet).await;
        a_host_that_is_cut_off_costs_none(&fleet).await;
        an_evenkeel_that_freezes_costs_none(&fleet).await;
        an_evenkeel_that_ends_costs_none(&mut fleet, "SIGTERM", Signal::TERM).await;
        an_evenkeel_that_ends_costs_none(&mut fleet, "SIGKILL", Signal::KILL).await;
    });
}

/// The host's own replicas get so many times what each of the others gets.
async fn all_have_their_shares(fleet: &Fleet<'_>, host: usize, preference: u64) {
    let (names, own) = (fleet.names(), format!("@{}", fleet.lab.node(host).name()));
    let weight = |name: &str| if name.ends_with(&own) { preference } else { 1 };
    let all: u64 = names.iter().map(|name| weight(name)).sum();
    let tally = Load::exactly(REQUESTS, fleet.of(host).proxy, "/").await;
    tally.assert_clean();
    assert_eq!(tally.replicas(), names);
    eprintln!("shares at host {host}, its own {preference} times as much: {:?}", tally.answers);
    let is_due = |(name, share): (&String, &u64)| {
        let due = REQUESTS * weight(name) / all;
        share.abs_diff(due) <= due / 10
    };
    assert!(tally.answers.iter().all(is_due), "{:?}", tally.answers);
}

/// Who is believed to be a peer is served by the host's own replicas, or refused if there are none.
async fn forged_fields_change_nothing(fleet: &Fleet<'_>, forgeries: &[&str]) {
    let mut client = Client::connect(fleet.of(3).proxy).await.unwrap();
    for forged in forgeries {
        let mut elsewhere = 0;
        for _ in 0..20 {
            let answer = client.request("GET", "/headers", &[("Evenkeel-Peer", forged)], b"").await.unwrap();
            let (served_by, seen) = (answer.header("x-served-by").unwrap_or_default(), answer.text());
            assert_eq!((answer.status, answer.header("evenkeel-peer")), (200, None), "{forged:?}: {answer:?}");
            assert!(!seen.to_lowercase().contains("evenkeel-peer"), "{served_by} got {forged:?}: {seen}");
            elsewhere += usize::from(!served_by.ends_with("@node-3"));
        }
        // Five in six are elsewhere.
        assert!(elsewhere > 10, "{forged:?}: {elsewhere} of 20");
    }
}

/// What is done on a host, which has so many replicas then, is known to the others.
async fn told_at_once(fleet: &Fleet<'_>, host: usize, count: usize, done: impl FnOnce()) {
    let count = count as u64;
    let is_own = |replica: &&Replica| !replica.name.starts_with("peer:") && replica.state == "ready";
    let own = watch(fleet.of(host).admin, count, move |all| all.iter().filter(is_own).count() as u64);
    let name = peer(fleet.lab.node(host));
    let weight =
        move |all: &[Replica]| all.iter().find(|replica| replica.name == name).map_or(0, |replica| replica.weight);
    let others = [1, 2, 3].into_iter().filter(|other| *other != host);
    let others: Vec<_> = others.map(|other| watch(fleet.of(other).admin, count, weight.clone())).collect();
    done();
    let (not_yet, _) = own.await.unwrap();
    for other in others {
        let (_, known) = other.await.unwrap();
        let took = known.saturating_duration_since(not_yet);
        eprintln!("host {host} has {count}: known elsewhere at most {took:.1?} later");
        assert!(took < SPREAD, "{took:?}");
    }
}

/// Asks again and again until it comes to `count`: when it was asked last and did not yet, and when it was known to.
fn watch(
    admin: Admin,
    count: u64,
    of: impl Fn(&[Replica]) -> u64 + Send + Sync + 'static,
) -> tokio::task::JoinHandle<(Instant, Instant)> {
    tokio::spawn(async move {
        let mut not_yet = Instant::now();
        timeout(PATIENCE, async {
            loop {
                let asked = Instant::now();
                if of(&admin.replicas().await) == count {
                    return (not_yet, Instant::now());
                }
                not_yet = asked;
                sleep(Duration::from_millis(2)).await;
            }
        })
        .await
        .unwrap()
    })
}

/// Its only replica stops and starts again.
async fn a_host_without_replicas_is_served_by_the_others(fleet: &Fleet<'_>) {
    let loads = [fleet.load(1), fleet.load(3)];
    until_used(&loads, "@node-3", true).await;
    let engine = &fleet.lab.node(3).engine;
    told_at_once(fleet, 3, 0, || drop(engine.docker(&["stop", "gateway-1"]))).await;
    until_used(&loads, "@node-3", false).await;
    told_at_once(fleet, 3, 1, || drop(engine.docker(&["start", "gateway-1"]))).await;
    until_used(&loads, "@node-3", true).await;
    stop_clean("without replicas", loads).await;
}

async fn a_host_that_is_cut_off_costs_none(fleet: &Fleet<'_>) {
    let loads = [fleet.load(1), fleet.load(2)];
    until_used(&loads, "@node-3", true).await;
    fleet.lab.node(3).cut();
    let since = Instant::now();
    fleet.until_ready([1, 2], 3, false).await;
    noticed("cut off", since);
    until_used(&loads, "@node-3", false).await;
    fleet.lab.node(3).heal();
    fleet.until_agreed().await;
    until_used(&loads, "@node-3", true).await;
    stop_clean("cut off", loads).await;
}

async fn an_evenkeel_that_freezes_costs_none(fleet: &Fleet<'_>) {
    let loads = [fleet.load(1), fleet.load(3)];
    until_used(&loads, "@node-2", true).await;
    fleet.of(2).signal(Signal::STOP);
    let since = Instant::now();
    fleet.until_ready([1, 3], 2, false).await;
    noticed("frozen", since);
    until_used(&loads, "@node-2", false).await;
    fleet.of(2).signal(Signal::CONT);
    fleet.until_agreed().await;
    until_used(&loads, "@node-2", true).await;
    stop_clean("frozen", loads).await;
}

async fn an_evenkeel_that_ends_costs_none(fleet: &mut Fleet<'_>, name: &str, signal: Signal) {
    let loads = [fleet.load(1), fleet.load(3)];
    until_used(&loads, "@node-2", true).await;
    fleet.end(2, signal);
    fleet.until_ready([1, 3], 2, false).await;
    until_used(&loads, "@node-2", false).await;
    fleet.start(2).await;
    fleet.until_agreed().await;
    until_used(&loads, "@node-2", true).await;
    stop_clean(name, loads).await;
}

fn noticed(what: &str, since: Instant) {
    let noticed = since.elapsed();
    eprintln!("{what}: noticed after {noticed:.1?}");
    assert!(noticed < LOST, "{noticed:?}");
}

/// Waits until a thousand requests of each were answered, by that host among others, or by others alone.
async fn until_used(loads: &[Load], host: &str, is_used: bool) {
    let count = |load: &Load| {
        let answers = load.tally().answers;
        let of_host = answers.iter().filter(|(name, _)| name.ends_with(host)).map(|(_, count)| count).sum::<u64>();
        (answers.values().sum::<u64>(), of_host)
    };
    for load in loads {
        let mut before = count(load);
        eventually(PATIENCE, &format!("{host} is used: {is_used}"), async || {
            let now = count(load);
            if !is_used && now.1 != before.1 {
                before = now;
            }
            now.0 >= before.0 + 1_000 && (now.1 > before.1) == is_used
        })
        .await;
    }
}

async fn stop_clean(what: &str, loads: [Load; 2]) {
    for load in loads {
        let tally = load.stop().await;
        let (total, failed) = (tally.total(), tally.failures.len());
        eprintln!("{what}: {failed} of {total} failed; the slowest took {:.1?}", tally.slowest);
        tally.assert_clean();
        assert!(tally.slowest < LOST, "{:?}", tally.slowest);
    }
}
