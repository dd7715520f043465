//! Shares.

use std::time::Duration;

use evenkeel::config::settings::Settings;
use evenkeel::provider::Provider;
use evenkeel::replica::ReplicaSpec;
use evenkeel::service::Policy;
use integration_tests::TestReplica;
use tokio::task::JoinSet;

use crate::support::{NEVER, Sidecar};

/// 8,000 requests over 16 kept-alive connections to 8 replicas: 1,000 each.
async fn shares_are_even(policy: Policy) {
    let (sidecar, gateways) = Sidecar::with_replicas(8, |settings| settings.proxy.policy = policy).await;
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let mut client = sidecar.client().await;
        clients.spawn(async move {
            for _ in 0..500 {
                assert_eq!(client.get("/").await.expect("a whole answer").status, 200);
            }
        });
    }
    clients.join_all().await;
    let shares: Vec<_> = gateways.iter().map(|gateway| gateway.replica.requests()).collect();
    assert_eq!(shares.iter().sum::<u64>(), 8000);
    assert!(shares.iter().all(|share| (900..=1100).contains(share)), "{policy}: {shares:?}");
}

#[tokio::test]
async fn round_robin_is_even() {
    shares_are_even(Policy::RoundRobin).await;
}

#[tokio::test]
async fn p2c_is_even() {
    shares_are_even(Policy::P2c).await;
}

#[tokio::test]
async fn p2c_is_even_at_one_request_at_a_time() {
    let (sidecar, _gateways) = Sidecar::with_replicas(4, |_| {}).await;
    let spread = sidecar.spread(400).await;
    assert!(spread.len() == 4 && spread.values().all(|share| (90..=110).contains(share)), "{spread:?}");
}

#[tokio::test]
async fn a_replica_that_hangs_is_avoided_by_p2c() {
    let (sidecar, gateways) = Sidecar::with_replicas(3, |_| {}).await;
    gateways[0].replica.hold();
    let mut clients = JoinSet::new();
    for _ in 0..12 {
        let mut client = sidecar.client().await;
        clients.spawn(async move {
            for _ in 0..25 {
                assert_eq!(client.get("/").await.expect("a whole answer").status, 200);
            }
        });
    }
    // By chance alone all twelve would soon wait for the held replica.
    crate::support::until_some("the others serve on", async || {
        (gateways[1].replica.requests() + gateways[2].replica.requests() >= 100).then_some(())
    })
    .await;
    assert!(gateways[0].replica.requests() <= 8);
    gateways[0].replica.release();
    clients.join_all().await;
}

#[tokio::test]
async fn weights_are_shares_and_zero_is_none() {
    let sidecar = Sidecar::start();
    let replicas = TestReplica::start_many(&["gateway-1", "gateway-2", "gateway-3"]);
    for (replica, weight) in replicas.iter().zip(["1", "3", "0"]) {
        sidecar.engine.run(crate::support::spec_of(replica).label("evenkeel.weight", weight));
    }
    sidecar.until_state("gateway-1", "ready").await;
    sidecar.until_state("gateway-2", "ready").await;
    sidecar.until_state("gateway-3", "ready").await;
    let spread = sidecar.spread(400).await;
    assert!((70..=130).contains(&spread["gateway-1"]), "{spread:?}");
    assert!(!spread.contains_key("gateway-3"), "{spread:?}");
}

#[tokio::test]
async fn static_replicas_need_no_docker() {
    let replicas = TestReplica::start_many(&["gateway-1", "gateway-2"]);
    let with_statics = |settings: &mut Settings| {
        let probe = settings.docker.remove(0).defaults.probe;
        settings.statics = replicas
            .iter()
            .map(|replica| ReplicaSpec {
                id: format!("gateway@{}", replica.addr()).into(),
                provider: Provider::STATIC,
                service: "gateway".into(),
                name: replica.name().to_owned(),
                project: None,
                number: None,
                image: None,
                network: None,
                addr: replica.addr(),
                weight: 1,
                probe: probe.clone(),
                drain_timeout: None,
                max_concurrency: None,
            })
            .collect();
    };
    let sidecar = Sidecar::start_with(with_statics);
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
    assert_eq!(sidecar.spread(20).await.len(), 2);
}

#[tokio::test]
async fn a_replica_that_stops_answering_its_probes_is_left_out() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |settings| {
        let probe = &mut crate::support::docker(settings).defaults.probe;
        probe.interval = Duration::from_millis(20);
        settings.proxy.keep_alive_timeout = NEVER;
    })
    .await;
    gateways[0].replica.crash().await;
    sidecar.until_state("gateway-1", "unhealthy").await;
    assert_eq!(sidecar.spread(20).await.into_keys().collect::<Vec<_>>(), ["gateway-2"]);
    gateways[0].replica.come_back();
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
}

#[tokio::test]
async fn a_replica_whose_requests_fail_is_ejected_and_comes_back() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |settings| {
        settings.proxy.eject.time = Duration::from_millis(300);
    })
    .await;
    gateways[0].replica.set_status(503);
    let mut failed = 0;
    while sidecar.replica("gateway-1").await.is_some_and(|replica| replica["state"] != "ejected") {
        failed += usize::from(sidecar.get("/").await.status == 503);
        assert!(failed <= 10, "it is still not ejected");
    }
    let replica = sidecar.replica("gateway-1").await.expect("it is there");
    assert!(replica["consecutive_failures"].as_u64() >= Some(5), "{replica}");
    assert_eq!(replica["ejections"], 1);
    assert_eq!(replica["verdict"], "ejected for a while: too many of its requests failed, most by 503");
    assert_eq!(sidecar.metric("evenkeel_replica_ejections_total", &["replica=\"gateway-1\""]).await, 1.0);
    gateways[0].replica.set_status(None);
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
    let replica = sidecar.replica("gateway-1").await.expect("it is there");
    assert_eq!(replica["consecutive_failures"], 0);
    assert_eq!(sidecar.spread(20).await.len(), 2);
}
