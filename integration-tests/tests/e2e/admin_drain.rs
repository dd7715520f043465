//! Drains by hand: what they do to traffic, and that nothing but their own end ends them.

use std::time::{Duration, Instant};

use evenkeel::config::settings::Settings;
use evenkeel::service::Policy;
use integration_tests::client::{Client, Response};
use integration_tests::eventually;
use integration_tests::fake_engine::Endpoint;
use serde_json::Value;

use crate::support::{Gateway, PATIENCE, Sidecar, Traffic, docker};

const TOKEN: &str = "a-token-of-the-tests";
/// Long enough for a few round trips on a busy machine.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

async fn with_replicas(count: u32, change: impl FnOnce(&mut Settings)) -> (Sidecar, Vec<Gateway>) {
    Sidecar::with_replicas(count, |settings| {
        settings.admin_token = Some(TOKEN.into());
        change(settings);
    })
    .await
}

async fn post(sidecar: &Sidecar, path: &str, token: Option<&str>) -> Response {
    let mut admin = Client::connect(sidecar.admin()).await.expect("the admin room accepts");
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
    admin.request("POST", &format!("/api/v1/replicas/{path}"), &headers, b"").await.expect("an answer")
}

/// Drains or undrains, and returns the replica as the API shows it then.
async fn change(sidecar: &Sidecar, path: &str) -> Value {
    let answer = post(sidecar, path, Some(TOKEN)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[tokio::test]
async fn who_may() {
    let (sidecar, gateways) = with_replicas(2, |_| {}).await;
    let full_id = gateways[0].id.as_str();
    let table = [
        ("gateway-1/drain", None, 401),
        ("gateway-1/drain", Some("a-token-of-the-testS"), 401),
        ("nobody/drain", None, 401),
        ("nobody/drain", Some(TOKEN), 404),
        ("gateway-1/stop", Some(TOKEN), 404),
        ("gateway-1", Some(TOKEN), 405),
        (&format!("{full_id}/drain"), Some(TOKEN), 200),
        ("gateway-2/drain", Some(TOKEN), 409),
        ("gateway-2/drain?force=true", Some(TOKEN), 200),
        (&format!("{}/undrain", &full_id[..12]), Some(TOKEN), 200),
        ("gateway-2/undrain", Some(TOKEN), 200),
    ];
    for (path, token, status) in table {
        let answer = post(&sidecar, path, token).await;
        assert_eq!(answer.status, status, "{path} {token:?}: {}", answer.text());
        assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"), "{path} {token:?}");
    }
    assert_eq!(sidecar.spread(20).await.len(), 2);

    let (read_only, _gateways) = Sidecar::with_replicas(2, |_| {}).await;
    assert_eq!(post(&read_only, "gateway-1/drain", Some(TOKEN)).await.status, 403);
}

#[tokio::test]
async fn a_drain_and_an_undrain_under_load_lose_nothing_and_move_the_shares() {
    let (sidecar, gateways) = with_replicas(3, |settings| settings.proxy.policy = Policy::RoundRobin).await;
    let counts = || gateways.iter().map(|gateway| gateway.replica.requests()).collect::<Vec<_>>();
    let traffic = Traffic::start(sidecar.proxy(), 8);
    // Until so many more requests were answered: the shares of each.
    let shares = async |requests: u64| {
        let before = counts();
        let more = || counts().iter().zip(&before).map(|(now, before)| now - before).collect::<Vec<_>>();
        eventually(PATIENCE, "requests go on", async || more().iter().sum::<u64>() >= requests).await;
        more()
    };
    let is_idle = async |name: &str| sidecar.replica(name).await.expect("listed")["in_flight"] == 0;
    for _ in 0..3 {
        let all = shares(600).await;
        assert!(all.iter().all(|share| *share * 4 > all.iter().sum()), "{all:?}");
        assert_eq!(change(&sidecar, "gateway-1/drain").await["state"], "draining");
        eventually(PATIENCE, "its last request ends", async || is_idle("gateway-1").await).await;
        let rest = shares(600).await;
        assert_eq!(rest[0], 0, "{rest:?}");
        assert!(rest[1..].iter().all(|share| *share * 3 > rest.iter().sum()), "{rest:?}");
        assert_eq!(change(&sidecar, "gateway-1/undrain").await["state"], "ready", "no probe has to pass first");
    }
    let all = shares(600).await;
    assert!(all.iter().all(|share| *share * 4 > all.iter().sum()), "{all:?}");
    let report = traffic.stop().await;
    assert_eq!(report.failures, Vec::<String>::new());
}

#[tokio::test]
async fn neither_relists_nor_probes_end_it_and_probes_go_on() {
    let (sidecar, gateways) = with_replicas(2, |settings| {
        docker(settings).resync_interval = Duration::from_millis(50);
        docker(settings).defaults.probe.interval = Duration::from_millis(10);
    })
    .await;
    change(&sidecar, "gateway-1/drain").await;
    let (lists, probes) = (sidecar.engine.requests(Endpoint::List), gateways[0].replica.connections());
    eventually(PATIENCE, "three relists and ten probes of it", async || {
        sidecar.engine.requests(Endpoint::List) >= lists + 3 && gateways[0].replica.connections() >= probes + 10
    })
    .await;
    assert_eq!(sidecar.states().await["gateway-1"], "draining");
    assert_eq!(sidecar.spread(20).await.into_keys().collect::<Vec<_>>(), ["gateway-2"]);

    // It fails meanwhile, which an undrain does not hide.
    gateways[0].replica.crash().await;
    eventually(PATIENCE, "its probes fail", async || {
        sidecar.replica("gateway-1").await.expect("listed")["health"] == "unhealthy"
    })
    .await;
    assert_eq!(sidecar.states().await["gateway-1"], "draining");
    assert_eq!(change(&sidecar, "gateway-1/undrain").await["state"], "unhealthy");
}

#[tokio::test]
async fn a_restart_forgets_it_and_the_stop_signal_outlives_it() {
    let (sidecar, gateways) = with_replicas(2, |_| {}).await;
    change(&sidecar, "gateway-1/drain").await;
    sidecar.engine.restart(&gateways[0].id);
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;

    change(&sidecar, "gateway-1/drain").await;
    sidecar.engine.kill(&gateways[0].id, 15);
    sidecar.barrier().await;
    let answer = post(&sidecar, "gateway-1/undrain", Some(TOKEN)).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(sidecar.states().await["gateway-1"], "draining");
}

#[tokio::test]
async fn a_clients_connection_outlives_the_drain_of_the_replica_it_used() {
    let (sidecar, gateways) = with_replicas(2, |_| {}).await;
    for by_hand in [true, false] {
        // One request is under way while the drain of its replica begins.
        gateways.iter().for_each(|gateway| gateway.replica.hold());
        let before: Vec<_> = gateways.iter().map(|gateway| gateway.replica.requests()).collect();
        let mut client = sidecar.client().await;
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let busy = crate::support::until_some("it is with a replica", async || {
            gateways.iter().zip(&before).position(|(gateway, before)| gateway.replica.requests() > *before)
        })
        .await;
        let name = gateways[busy].replica.name();
        if by_hand {
            change(&sidecar, &format!("{name}/drain")).await;
        } else {
            sidecar.engine.kill(&gateways[busy].id, 15);
            sidecar.until_state(name, "draining").await;
        }
        gateways.iter().for_each(|gateway| gateway.replica.release());
        let answer = client.read_response().await.expect("the whole answer");
        assert_eq!((answer.text().as_str(), answer.header("connection")), (name, None), "by hand: {by_hand}");
        for _ in 0..3 {
            let answer = client.get("/").await.expect("the connection is still there");
            assert_eq!((answer.status, answer.header("connection")), (200, None));
            assert_ne!(answer.text(), name, "by hand: {by_hand}");
        }
        if by_hand {
            change(&sidecar, &format!("{name}/undrain")).await;
        }
    }
}

#[tokio::test]
async fn a_tunnel_is_counted_goes_on_during_a_drain_and_is_cut_at_the_drain_timeout() {
    for by_hand in [true, false] {
        let (sidecar, gateways) = with_replicas(1, |settings| {
            docker(settings).defaults.drain_timeout = Some(DRAIN_TIMEOUT);
        })
        .await;
        let tunnels = async || {
            let shown = sidecar.replica("gateway-1").await.expect("listed");
            let scraped = sidecar.metric("evenkeel_replica_tunnels", &["replica=\"gateway-1\""]).await;
            (shown["in_flight"].clone(), shown["tunnels"].clone(), scraped)
        };
        assert_eq!(tunnels().await, (0.into(), 0.into(), 0.0));
        let mut client = sidecar.client().await;
        let upgrade = [("Connection", "Upgrade"), ("Upgrade", "echo")];
        assert_eq!(client.request("GET", "/upgrade", &upgrade, b"").await.expect("an answer").status, 101);
        eventually(PATIENCE, "it is counted", async || tunnels().await == (1.into(), 1.into(), 1.0)).await;
        let page = integration_tests::client::get(sidecar.admin(), "/debug/replicas").await.expect("a page").text();
        assert!(page.contains("  TUNNELS  "), "{page}");

        let since = Instant::now();
        if by_hand {
            change(&sidecar, "gateway-1/drain?force=true").await;
        } else {
            sidecar.engine.kill(&gateways[0].id, 15);
            sidecar.until_state("gateway-1", "draining").await;
        }
        client.send(b"still here").await.expect("the tunnel is open");
        assert_eq!(client.read_exactly(10).await.expect("an echo"), b"still here");
        assert_eq!(client.read_to_end().await.expect("an end"), b"");
        assert!(since.elapsed() >= DRAIN_TIMEOUT, "cut before its time: {:?}", since.elapsed());
        eventually(PATIENCE, "it is not counted any more", async || tunnels().await == (0.into(), 0.into(), 0.0)).await;
        let cut = sidecar.metric("evenkeel_replica_requests_cut_total", &["replica=\"gateway-1\""]).await;
        assert!((cut - 1.0).abs() < f64::EPSILON, "{cut}");
    }
}

#[tokio::test]
async fn an_undrain_calls_off_the_cut() {
    let (sidecar, _gateways) = with_replicas(1, |settings| {
        docker(settings).defaults.drain_timeout = Some(DRAIN_TIMEOUT);
    })
    .await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "echo")];
    let (mut kept, mut cut) = (sidecar.client().await, sidecar.client().await);
    assert_eq!(kept.request("GET", "/upgrade", &upgrade, b"").await.expect("an answer").status, 101);
    change(&sidecar, "gateway-1/drain?force=true").await;
    change(&sidecar, "gateway-1/undrain").await;
    // The drain timeout of the replica that comes next, which is drained for good, ends after that of this one would.
    let next = sidecar.run("gateway-2");
    sidecar.until_state("gateway-2", "ready").await;
    while cut.request("GET", "/upgrade", &upgrade, b"").await.expect("an answer").header("x-served-by")
        != Some("gateway-2")
    {
        cut = sidecar.client().await;
    }
    sidecar.engine.kill(&next.id, 15);
    assert_eq!(cut.read_to_end().await.expect("an end"), b"");
    kept.send(b"still here").await.expect("the tunnel is open");
    assert_eq!(kept.read_exactly(10).await.expect("an echo"), b"still here");
}

#[tokio::test]
async fn requests_that_wait_for_the_last_replica_go_on_at_the_undrain() {
    let (sidecar, _gateways) = with_replicas(1, |_| {}).await;
    change(&sidecar, "gateway-1/drain?force=true").await;
    let mut client = sidecar.client().await;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    eventually(PATIENCE, "it waits", async || sidecar.metric("evenkeel_requests_held", &[]).await > 0.5).await;
    change(&sidecar, "gateway-1/undrain").await;
    let answer = client.read_response().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "gateway-1"));
}
