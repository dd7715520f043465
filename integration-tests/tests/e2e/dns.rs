//! Replicas that are named in the DNS: what answers change, and what failures do not.

use std::time::Duration;

use evenkeel::config::settings::{
    DnsOnEmpty, DnsQuestion, DnsRules, DnsSettings, DnsTarget, ReplicaDefaults, Settings,
};
use evenkeel::provider::{Provider, ProviderKind};
use integration_tests::dns_server::{Fault, Record};
use integration_tests::{DnsServer, TestReplica, eventually};

use crate::support::{NEVER, PATIENCE, Sidecar, Traffic};

const HOST: &str = "gateway.internal";
const SERVICE: &str = "_http._tcp.gateway.internal";
const CONNECTED: &str = "evenkeel_discovery_connected";
const PROVIDER: &str = "provider=\"dns:gateway.internal\"";

/// evenkeel without an engine that looks up one name, as often as it can, and the server that is asked.
struct Names {
    sidecar: Sidecar,
    server: DnsServer,
    replicas: Vec<TestReplica>,
}

impl Names {
    /// One with so many replicas, none of which the server knows.
    async fn start(count: usize, question: DnsQuestion, change: impl FnOnce(&mut DnsRules)) -> Self {
        let server = DnsServer::start().await;
        let replicas = TestReplica::start_many(&["a", "b", "c", "d", "e", "f"][..count]);
        let port = matches!(question, DnsQuestion::Host(_)).then_some(replicas[0].addr().port());
        let mut rules = DnsRules {
            servers: vec![server.addr()],
            timeout: Duration::from_millis(200),
            min_ttl: Duration::from_millis(5),
            max_ttl: Duration::from_millis(20),
            ..DnsRules::default()
        };
        change(&mut rules);
        let dns = DnsSettings {
            provider: Provider::named(ProviderKind::Dns, question.to_string()),
            question,
            targets: vec![DnsTarget { service: "gateway".into(), port }],
            rules,
            defaults: ReplicaDefaults::default(),
        };
        let sidecar = Sidecar::start_with(|settings: &mut Settings| {
            settings.docker.clear();
            settings.dns.push(dns);
        });
        Self { sidecar, server, replicas }
    }

    async fn of_host(count: usize, change: impl FnOnce(&mut DnsRules)) -> Self {
        Self::start(count, DnsQuestion::Host(HOST.to_owned()), change).await
    }

    /// The server says these replicas, by their places, with a TTL of 10 minutes as Docker's has it.
    fn name(&self, places: &[usize]) {
        self.server.set(HOST, places.iter().map(|place| self.replicas[*place].ip()));
    }

    fn addr(&self, place: usize) -> String {
        self.replicas[place].addr().to_string()
    }

    async fn until_ready(&self, places: &[usize]) {
        let mut addrs: Vec<_> = places.iter().map(|place| self.addr(*place)).collect();
        addrs.sort_unstable();
        self.sidecar.until_ready(&addrs.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    async fn until_only(&self, places: &[usize]) {
        self.until_ready(places).await;
        let count = places.len();
        eventually(PATIENCE, "the others are gone", async || self.sidecar.states().await.len() == count).await;
    }

    async fn until_connected(&self, connected: f64) {
        eventually(PATIENCE, &format!("discovery_connected is {connected}"), async || {
            (self.sidecar.metric(CONNECTED, &[PROVIDER]).await - connected).abs() < f64::EPSILON
        })
        .await;
    }

    /// Waits until the server was asked so many times more.
    async fn questions(&self, more: u64) {
        let before = self.server.queries();
        eventually(PATIENCE, "it is asked again", async || self.server.queries() >= before + more).await;
    }
}

#[tokio::test]
async fn answers_that_change_lose_no_request() {
    let names = Names::of_host(6, |_| {}).await;
    names.name(&[0, 1]);
    names.until_ready(&[0, 1]).await;
    let traffic = Traffic::start(names.sidecar.proxy(), 8);
    for places in [&[0, 1, 2, 3][..], &[2, 3], &[3, 4, 5], &[0], &[0, 1, 2, 3, 4, 5], &[1, 5]] {
        names.name(places);
        names.until_only(places).await;
    }
    let report = traffic.stop().await;
    assert_eq!(report.failures, [""; 0]);
    assert_eq!(report.answers.len(), 6, "{report:?}");
}

#[tokio::test]
async fn an_address_that_left_ends_its_request_and_gets_no_other() {
    let names = Names::of_host(2, |_| {}).await;
    names.name(&[0]);
    names.until_ready(&[0]).await;
    names.replicas[0].hold();
    let proxy = names.sidecar.proxy();
    let open = tokio::spawn(async move { integration_tests::client::get(proxy, "/").await });
    eventually(PATIENCE, "the request arrives", async || names.replicas[0].requests() == 1).await;
    names.name(&[1]);
    names.until_ready(&[1]).await;
    names.sidecar.until_state(&names.addr(0), "draining").await;
    assert_eq!(names.sidecar.spread(20).await.into_keys().collect::<Vec<_>>(), ["b"]);
    names.questions(10).await;
    assert_eq!(names.replicas[0].requests(), 1);

    // Named again before that it goes on with what it has; named no more it goes with it.
    names.name(&[0, 1]);
    names.until_ready(&[0, 1]).await;
    names.name(&[1]);
    names.sidecar.until_state(&names.addr(0), "draining").await;
    names.replicas[0].release();
    let answer = open.await.expect("no panic").expect("a whole answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
    names.sidecar.until_gone(&names.addr(0)).await;
}

#[tokio::test]
async fn whatever_goes_wrong_the_last_truth_stays_and_the_new_one_is_seen_after() {
    let names = Names::of_host(4, |_| {}).await;
    names.name(&[0, 1]);
    names.until_ready(&[0, 1]).await;
    let traffic = Traffic::start(names.sidecar.proxy(), 4);
    let (mut now, mut next) = ([0, 1], [2, 3]);
    let faults = [
        Fault::Silent,
        Fault::ServFail,
        Fault::Refused,
        Fault::Empty,
        Fault::WrongId,
        Fault::WrongQuestion,
        Fault::WrongName,
        Fault::Garbage,
        Fault::BrokenOff,
        Fault::OnlyTruncated,
    ];
    for fault in faults {
        names.server.set_fault(fault);
        names.until_connected(0.0).await;
        names.name(&next);
        names.questions(4).await;
        let states = names.sidecar.states().await;
        let mut known = now.map(|place| names.addr(place));
        known.sort_unstable();
        assert!(states.keys().eq(&known) && states.values().all(|state| state == "ready"), "{fault:?}: {states:?}");
        names.server.set_fault(None);
        names.until_only(&next).await;
        names.until_connected(1.0).await;
        std::mem::swap(&mut now, &mut next);
    }
    names.server.remove(HOST);
    names.until_connected(0.0).await;
    names.questions(4).await;
    names.until_only(&now).await;
    let report = traffic.stop().await;
    assert_eq!(report.failures, [""; 0]);
}

#[tokio::test]
async fn no_address_is_the_truth_where_the_settings_say_so() {
    let names = Names::of_host(1, |rules| rules.on_empty = DnsOnEmpty::Drain).await;
    names.name(&[0]);
    names.until_ready(&[0]).await;
    names.server.set_fault(Fault::ServFail);
    names.until_connected(0.0).await;
    names.questions(4).await;
    names.until_only(&[0]).await;
    names.server.set_fault(None);
    names.server.remove(HOST);
    names.until_only(&[]).await;
    names.until_connected(1.0).await;
    names.name(&[0]);
    names.until_only(&[0]).await;
}

#[tokio::test]
async fn a_service_has_ports_weights_and_priorities() {
    let names = Names::start(3, DnsQuestion::Srv(SERVICE.to_owned()), |_| {}).await;
    for (host, replica) in ["a.internal", "b.internal", "c.internal"].iter().zip(&names.replicas) {
        names.server.set(host, [replica.ip()]);
    }
    let port = names.replicas[0].addr().port();
    let standby = Record::srv(20, 1, port, "c.internal");
    names.server.set(
        SERVICE,
        [Record::srv(10, 3, port, "a.internal"), Record::srv(10, 1, port, "b.internal"), standby.clone()],
    );
    names.until_only(&[0, 1]).await;
    let weight =
        async |place: usize| names.sidecar.replica(&names.addr(place)).await.expect("listed")["weight"].clone();
    assert_eq!((weight(0).await, weight(1).await), (3.into(), 1.into()));
    let traffic = Traffic::start(names.sidecar.proxy(), 4);
    names.server.set(SERVICE, [Record::srv(10, 5, port, "a.internal"), standby.clone()]);
    names.until_only(&[0]).await;
    eventually(PATIENCE, "it has another weight", async || weight(0).await == 5).await;
    names.server.set(SERVICE, [standby]);
    names.until_only(&[2]).await;
    assert_eq!(traffic.stop().await.failures, [""; 0]);
}

#[tokio::test]
async fn answers_that_are_changing_parts_of_the_truth_do_not_flap_with_a_linger() {
    let names = Names::of_host(6, |rules| rules.linger = NEVER).await;
    for first in 0..6 {
        names.name(&[first, (first + 1) % 6]);
        names.questions(4).await;
    }
    names.until_only(&[0, 1, 2, 3, 4, 5]).await;
    let incarnations =
        async || -> Vec<_> { names.sidecar.api("replicas").await.iter().map(|one| one["since"].clone()).collect() };
    let before = incarnations().await;
    for first in 0..6 {
        names.name(&[first, (first + 1) % 6]);
        names.questions(4).await;
    }
    assert_eq!(incarnations().await, before);
}

#[tokio::test]
async fn rules_hold_as_soon_as_they_change() {
    let mut names = Names::of_host(2, |rules| rules.max_ttl = NEVER).await;
    names.name(&[0]);
    // It may have asked before there was an answer, and does so again soon after.
    names.until_only(&[0]).await;
    names.name(&[1]);
    names.sidecar.change(|settings| settings.dns[0].rules.max_ttl = Duration::from_millis(20));
    names.until_only(&[1]).await;
}

/// What a headless service's name comes to while its Deployment is rolled over: a new pod is named once it is ready, an
/// old one is named no more while it still serves, for as long as its preStop takes.
#[tokio::test]
async fn a_headless_service_can_be_rolled_over() {
    let names = Names::of_host(6, |_| {}).await;
    names.name(&[0, 1, 2]);
    names.until_only(&[0, 1, 2]).await;
    let traffic = Traffic::start(names.sidecar.proxy(), 8);
    let mut pods = [0, 1, 2];
    for (turn, new) in [3, 4, 5].into_iter().enumerate() {
        let old = std::mem::replace(&mut pods[turn], new);
        names.name(&[pods[0], pods[1], pods[2], old]);
        names.until_ready(&[pods[0], pods[1], pods[2], old]).await;
        names.name(&pods);
        names.until_only(&pods).await;
        names.replicas[old].refuse().await;
        names.replicas[old].close_idle();
    }
    let report = traffic.stop().await;
    assert_eq!(report.failures, [""; 0]);
}
