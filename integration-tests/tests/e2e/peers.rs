//! Several evenkeels as peers, each beside an engine of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use evenkeel::config::settings::{PeerHost, Settings};
use integration_tests::TestReplica;
use integration_tests::client::Client;
use serde_json::Value;

use crate::support::{Gateway, Sidecar, Traffic, spec_of, until_some};

const TOKEN: &str = "sesame-open-wide";

/// A host with an evenkeel and the replicas beside it.
struct Host {
    sidecar: Sidecar,
    gateways: Vec<Gateway>,
}

/// So many hosts with so many replicas each, named `vm-1`, …, that know all of one another. Their replicas answer with
/// names like `gateway-12`: the second of `vm-1`.
async fn hosts(counts: &[u32], change: impl Fn(&mut Settings)) -> Vec<Host> {
    hosts_at(&free_addresses(counts.len()), counts, change).await
}

/// The same with their admin listeners here.
async fn hosts_at(admins: &[SocketAddr], counts: &[u32], change: impl Fn(&mut Settings)) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (index, (count, admin)) in counts.iter().zip(admins).enumerate() {
        let sidecar = Sidecar::start_with(|settings| {
            settings.admin_listen = *admin;
            settings.proxy.listen = (admin.ip(), 0).into();
            settings.proxy.hold.time = Duration::from_secs(5);
            settings.peers.name = Some(format!("vm-{}", index + 1));
            settings.peers.token = Some(TOKEN.into());
            // All are listed everywhere, as a name in the DNS would.
            settings.peers.hosts = admins.iter().map(peer).collect();
            change(settings);
        });
        let gateways = (1..=*count).map(|number| run(&sidecar, index, number)).collect();
        hosts.push(Host { sidecar, gateways });
    }
    until_even(&hosts, counts).await;
    hosts
}

/// Starts the replica with this number on the host with this index.
fn run(sidecar: &Sidecar, index: usize, number: u32) -> Gateway {
    let replica = TestReplica::start(&format!("gateway-{}{number}", index + 1));
    Gateway { id: sidecar.engine.run(spec_of(&replica)), replica }
}

fn peer(admin: &SocketAddr) -> PeerHost {
    PeerHost { host: admin.ip().to_string(), port: admin.port() }
}

/// An address of its own for each host, with a port that is free.
fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bind = |_| {
        let ip = [127, fastrand::u8(1..=254), fastrand::u8(..), fastrand::u8(1..=254)];
        TcpListener::bind(SocketAddr::from((ip, 0))).expect("a port")
    };
    let listeners: Vec<_> = (0..count).map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("its address")).collect()
}

/// The weight with which each host takes part, by its name, as this one sees it; if it is ready.
async fn weights(sidecar: &Sidecar) -> BTreeMap<String, u64> {
    let replicas = sidecar.api("replicas").await;
    let peers =
        replicas.iter().filter(|replica| replica["name"].as_str().is_some_and(|name| name.starts_with("peer:")));
    let ready = peers.filter(|replica| replica["state"] == "ready");
    ready
        .map(|replica| {
            (replica["name"].as_str().unwrap_or_default().to_owned(), replica["weight"].as_u64().unwrap_or(0))
        })
        .collect()
}

/// Waits until each host sees every other with so many replicas.
async fn until_even(hosts: &[Host], counts: &[u32]) {
    for (index, host) in hosts.iter().enumerate() {
        let others = counts.iter().enumerate().filter(|(other, count)| *other != index && **count > 0);
        let expected: BTreeMap<_, _> =
            others.map(|(other, count)| (format!("peer:vm-{}", other + 1), u64::from(*count))).collect();
        until_some(&format!("vm-{} sees {expected:?}", index + 1), async || {
            let own = host
                .sidecar
                .states()
                .await
                .into_iter()
                .filter(|(name, state)| !name.starts_with("peer:") && state == "ready");
            (weights(&host.sidecar).await == expected && own.count() == host.gateways.len()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_to_any_host_reaches_all_replicas_evenly() {
    let counts = [1, 2, 3];
    let hosts = hosts(&counts, |_| {}).await;
    for host in &hosts {
        let spread = host.sidecar.spread(1200).await;
        assert_eq!(spread.len(), 6, "{spread:?}");
        assert!(spread.values().all(|share| (180..=220).contains(share)), "{spread:?}");
    }
}

#[tokio::test]
async fn an_answer_says_which_replica_gave_it_and_on_which_host() {
    let hosts = hosts(&[1, 1], |_| {}).await;
    let mut seen = BTreeMap::new();
    while seen.len() < 2 {
        let answer = hosts[0].sidecar.get("/").await;
        let by: Vec<_> = answer.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-served-by")).collect();
        assert_eq!(by.len(), 1, "{by:?}");
        assert!(answer.header("evenkeel-peer").is_none());
        seen.insert(by[0].1.clone(), answer.text());
    }
    let expected = [("gateway-11@vm-1", "gateway-11"), ("gateway-21@vm-2", "gateway-21")];
    assert_eq!(seen, expected.map(|(by, name)| (by.to_owned(), name.to_owned())).into());
    let replica = hosts[0].sidecar.replica("peer:vm-2").await.expect("the peer is a replica");
    assert!(replica["requests"].as_u64() > Some(0) && replica["errors"] == 0, "{replica}");
    assert!(replica["provider"].as_str().is_some_and(|provider| provider.starts_with("peer:127.")), "{replica}");
}

#[tokio::test]
async fn what_is_here_is_preferred_by_the_factor() {
    let hosts = hosts(&[1, 1], |settings| settings.peers.prefer_local = 3).await;
    let spread = hosts[0].sidecar.spread(800).await;
    assert!((540..=660).contains(&spread["gateway-11"]), "{spread:?}");
}

#[tokio::test]
async fn a_scale_on_one_host_changes_the_weights_elsewhere_within_100_ms() {
    let mut hosts = hosts(&[1, 1], |_| {}).await;
    let mut slowest = Duration::ZERO;
    for number in 2..=6 {
        let gateway = run(&hosts[1].sidecar, 1, number);
        let name = gateway.replica.name().to_owned();
        hosts[1].gateways.push(gateway);
        until_some("it is ready there", async || {
            let states = hosts[1].sidecar.states().await;
            (states.get(&name).map(String::as_str) == Some("ready")).then_some(())
        })
        .await;
        let began = Instant::now();
        until_some("it counts here", async || {
            (weights(&hosts[0].sidecar).await["peer:vm-2"] == u64::from(number)).then_some(())
        })
        .await;
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_millis(100), "{slowest:?}");
    // And down again: none is left, so nothing goes there.
    for gateway in &hosts[1].gateways {
        hosts[1].sidecar.engine.stop(&gateway.id);
    }
    until_some("nothing is left there", async || (weights(&hosts[0].sidecar).await["peer:vm-2"] == 0).then_some(()))
        .await;
    assert_eq!(hosts[0].sidecar.spread(20).await.into_keys().collect::<Vec<_>>(), ["gateway-11"]);
}

/// The head of a request as the replica saw it: fields by their names.
async fn head_at_replica(proxy: SocketAddr, fields: &[(&str, &str)], replica: &str) -> BTreeMap<String, String> {
    until_some("a request reaches the replica", async || {
        let mut client = Client::connect(proxy).await.ok()?;
        let answer = client.request("GET", "/headers", fields, b"").await.ok()?;
        (answer.header("x-replica") == Some(replica)).then(|| {
            let text = answer.text();
            text.lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        })
    })
    .await
}

#[tokio::test]
async fn a_replica_cannot_tell_which_host_the_request_came_through() {
    let hosts = hosts(&[1, 1], |_| {}).await;
    let fields = [("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("X-Forwarded-Proto", "https")];
    let mut heads = Vec::new();
    for host in &hosts {
        let mut head = head_at_replica(host.sidecar.proxy(), &fields, "gateway-21").await;
        let via = head.remove("via").expect("a Via");
        assert!(via.contains("evenkeel-"), "{via}");
        heads.push(head);
    }
    assert_eq!(heads[0], heads[1]);
    let ours = IpAddr::from([127, 0, 0, 1]).to_string();
    for (name, value) in [("x-forwarded-for", ours.as_str()), ("x-real-ip", &ours), ("x-forwarded-proto", "http")] {
        assert_eq!(heads[0][name], value, "{name}");
    }
    assert!(!heads[0].contains_key("evenkeel-peer"));
}

#[tokio::test]
async fn a_forged_greeting_changes_nothing() {
    let hosts = hosts(&[1, 1], |_| {}).await;
    for forged in ["gateway", "gateway wrong-token-of-a-kind", "gateway ", &format!("{TOKEN} gateway"), TOKEN] {
        let fields = [("Evenkeel-Peer", forged), ("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6")];
        let before: Vec<_> = hosts.iter().map(|host| host.gateways[0].replica.requests()).collect();
        let mut client = hosts[0].sidecar.client().await;
        for _ in 0..100 {
            let answer = client.request("GET", "/headers", &fields, b"").await.expect("a whole answer");
            let text = answer.text();
            assert!(!text.contains("evenkeel-peer") && !text.contains("6.6.6.6"), "{text}");
        }
        for (host, before) in hosts.iter().zip(before) {
            let share = host.gateways[0].replica.requests() - before;
            assert!((40..=60).contains(&share), "{forged:?}: {share}");
        }
    }
    // Nor does it get an answer that a peer would get.
    hosts.iter().for_each(|host| host.sidecar.engine.stop(&host.gateways[0].id));
    let proxy = hosts[0].sidecar.proxy();
    let answer = until_some("the hold ends", async || {
        let mut client = Client::connect(proxy).await.ok()?;
        client
            .request("GET", "/", &[("Evenkeel-Peer", "gateway")], b"")
            .await
            .ok()
            .filter(|answer| answer.status == 503)
    })
    .await;
    assert!(answer.header("evenkeel-peer").is_none());
}

#[tokio::test]
async fn a_peers_request_is_served_here_or_not_at_all() {
    let hosts = hosts(&[1, 1], |_| {}).await;
    let greeting = format!("gateway {TOKEN}");
    let fields = [("Evenkeel-Peer", greeting.as_str())];
    let mut client = hosts[0].sidecar.client().await;
    for _ in 0..50 {
        let answer = client.request("GET", "/", &fields, b"").await.expect("a whole answer");
        assert_eq!((answer.status, answer.text()), (200, "gateway-11".to_owned()));
    }
    hosts[0].sidecar.engine.stop(&hosts[0].gateways[0].id);
    hosts[0].sidecar.until_gone("gateway-11").await;
    let began = Instant::now();
    for (method, service) in [("GET", "gateway"), ("POST", "gateway"), ("GET", "nobody")] {
        let greeting = format!("{service} {TOKEN}");
        let answer =
            client.request(method, "/", &[("Evenkeel-Peer", &greeting)], b"body").await.expect("a whole answer");
        assert_eq!((answer.status, answer.header("evenkeel-peer")), (503, Some("unsent")), "{}", answer.text());
    }
    assert!(began.elapsed() < Duration::from_secs(4), "it waits where it came from: {:?}", began.elapsed());
    // Its clients go to the other host.
    assert_eq!(hosts[0].sidecar.spread(10).await.into_keys().collect::<Vec<_>>(), ["gateway-21"]);
}

#[tokio::test]
async fn what_a_peer_cannot_serve_goes_elsewhere_whatever_it_is() {
    let hosts = hosts(&[1, 1], |_| {}).await;
    // Nobody tells the first host: its view of the second is of before.
    hosts[1].gateways[0].replica.crash().await;
    let mut client = hosts[0].sidecar.client().await;
    for number in 0..40 {
        let (method, body) = if number % 2 == 0 { ("POST", &b"some body"[..]) } else { ("GET", &b""[..]) };
        let answer = client.request(method, "/echo", &[], body).await.expect("a whole answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, body), "{}", answer.text());
        assert_eq!(answer.header("x-replica"), Some("gateway-11"));
    }
    assert_eq!(hosts[1].gateways[0].replica.requests(), 0);
}

#[tokio::test]
async fn two_without_replicas_do_not_send_requests_to_and_fro() {
    let hosts = hosts(&[1, 1], |settings| settings.proxy.hold.time = Duration::from_millis(300)).await;
    // At once, so that each still counts on the other.
    for host in &hosts {
        host.gateways[0].replica.crash().await;
    }
    for host in &hosts {
        let answer = host.sidecar.get("/").await;
        assert!(matches!(answer.status, 502 | 503), "{}: {}", answer.status, answer.text());
        assert!(answer.header("evenkeel-peer").is_none());
        let taken = host.sidecar.metric("evenkeel_connections_total", &[]).await;
        assert!(taken <= 20.0, "probes, this request and perhaps the other's: {taken}");
    }
    let loops = hosts[0].sidecar.metric("evenkeel_refusals_total", &["bad-request"]).await;
    assert_eq!(loops, 0.0);
}

#[tokio::test]
async fn a_host_that_stops_or_is_killed_costs_no_request() {
    for is_killed in [false, true] {
        let mut hosts = hosts(&[2, 2, 2], |settings| settings.proxy.retries = 2).await;
        let traffic = Traffic::start(hosts[0].sidecar.proxy(), 8);
        until_some("all answer", async || {
            hosts.iter().all(|host| host.gateways.iter().all(|one| one.replica.requests() > 20)).then_some(())
        })
        .await;
        let Host { sidecar, gateways } = hosts.remove(2);
        let (engine, app) = sidecar.into_parts();
        if is_killed {
            drop(app);
        } else {
            app.shutdown().await;
        }
        until_some("it takes no part any more", async || {
            (weights(&hosts[0].sidecar).await.keys().eq(["peer:vm-2"])).then_some(())
        })
        .await;
        let before = hosts[1].gateways[0].replica.requests();
        until_some("the others go on", async || (hosts[1].gateways[0].replica.requests() > before + 20).then_some(()))
            .await;
        let report = traffic.stop().await;
        assert_eq!(report.failures, [""; 0], "killed: {is_killed}");
        drop((engine, gateways));
    }
}

#[tokio::test]
async fn another_token_is_no_peer_and_both_ends_know() {
    let hosts = hosts(&[1, 0], |_| {}).await;
    let stranger = Sidecar::start_with(|settings| {
        settings.peers.token = Some("sesame-shut-tight".into());
        settings.peers.hosts = vec![peer(&hosts[0].sidecar.admin())];
    });
    until_some("it is refused", async || {
        let reconnects = stranger.metric("evenkeel_discovery_reconnects_total", &["peer:"]).await;
        (reconnects > 0.0).then_some(())
    })
    .await;
    assert_eq!(weights(&stranger).await, BTreeMap::new());
    assert_eq!(stranger.metric("evenkeel_discovery_connected", &["peer:"]).await, 0.0);
}

#[tokio::test]
async fn without_a_token_the_addresses_decide() {
    // What comes from here comes from 127.0.0.1.
    let admins: Vec<_> = free_addresses(2).iter().map(|addr| SocketAddr::from(([127, 0, 0, 1], addr.port()))).collect();
    let hosts = hosts_at(&admins, &[1, 1], |settings| settings.peers.token = None).await;
    let spread = hosts[0].sidecar.spread(100).await;
    assert!(spread.len() == 2 && spread.values().all(|share| (40..=60).contains(share)), "{spread:?}");
    let stranger = Sidecar::start_with(|settings| {
        settings.peers.hosts = vec![peer(&hosts[0].sidecar.admin())];
        settings.peers.token = Some(TOKEN.into());
    });
    until_some("a token where there is none is refused", async || {
        (stranger.metric("evenkeel_discovery_reconnects_total", &["peer:"]).await > 0.0).then_some(())
    })
    .await;
    assert_eq!(weights(&stranger).await, BTreeMap::new());
}

#[tokio::test]
async fn the_news_are_for_people_too() {
    let hosts = hosts(&[2, 0], |_| {}).await;
    let mut client = Client::connect(hosts[0].sidecar.admin()).await.expect("the admin room answers");
    client.send(b"GET /api/v1/watch HTTP/1.1\r\nHost: admin\r\n\r\n").await.expect("it takes that");
    assert_eq!(client.read_head().await.expect("a head").header("content-type"), Some("application/x-ndjson"));
    let line = client.read_chunk().await.expect("a chunk").expect("a line");
    let first: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!((&first["name"], &first["services"]["gateway"]["ready"]), (&Value::from("vm-1"), &Value::from(2)));
    assert_eq!(client.read_chunk().await.expect("a chunk").as_deref(), Some(&b"{}\n"[..]));
}
