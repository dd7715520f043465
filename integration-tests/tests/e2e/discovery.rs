//! From what happens to containers to who gets requests.

use std::collections::BTreeMap;

use integration_tests::{ContainerSpec, TestReplica};
use serde_json::Value;

use crate::support::{NETWORK, Sidecar, spec_of};

/// The verdict on a container, by its name.
async fn verdict(sidecar: &Sidecar, name: &str) -> String {
    let find = async || sidecar.api("containers").await.into_iter().find(|one| one["name"] == name);
    let container: Value = crate::support::until_some(&format!("a verdict on {name}"), find).await;
    container["verdict"].to_string()
}

#[tokio::test]
async fn scaling_up_and_down_is_followed() {
    let (sidecar, mut gateways) = Sidecar::with_replicas(2, |_| {}).await;
    assert_eq!(sidecar.spread(20).await.len(), 2);

    for number in 3..=8 {
        gateways.push(sidecar.run(&format!("gateway-{number}")));
    }
    sidecar
        .until_ready(&[
            "gateway-1",
            "gateway-2",
            "gateway-3",
            "gateway-4",
            "gateway-5",
            "gateway-6",
            "gateway-7",
            "gateway-8",
        ])
        .await;
    assert_eq!(sidecar.spread(400).await.len(), 8);

    for gateway in gateways.drain(2..) {
        sidecar.engine.remove(&gateway.id);
    }
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
    assert_eq!(sidecar.states().await.len(), 2);
    assert_eq!(sidecar.spread(20).await.len(), 2);
}

#[tokio::test]
async fn a_paused_replica_gets_nothing_until_unpaused() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    sidecar.engine.pause(&gateways[0].id);
    sidecar.until_state("gateway-1", "paused").await;
    assert_eq!(sidecar.spread(20).await, BTreeMap::from([("gateway-2".to_owned(), 20)]));
    sidecar.engine.unpause(&gateways[0].id);
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
}

#[tokio::test]
async fn a_pause_does_not_pass_for_a_failed_healthcheck() {
    let sidecar = Sidecar::start();
    let replica = TestReplica::start("gateway-1");
    let id = sidecar.engine.run(spec_of(&replica).healthcheck());
    sidecar.engine.set_health(&id, "healthy");
    sidecar.until_ready(&["gateway-1"]).await;
    sidecar.engine.pause(&id);
    sidecar.until_state("gateway-1", "paused").await;
    sidecar.engine.unpause(&id);
    sidecar.until_ready(&["gateway-1"]).await;
}

#[tokio::test]
async fn a_one_off_container_is_never_a_replica() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let one_off = TestReplica::start("one-off");
    let spec = ContainerSpec::one_off("shop", "gateway").network(NETWORK, one_off.ip()).expose(one_off.addr().port());
    sidecar.engine.run(spec);
    sidecar.barrier().await;
    let name = sidecar.engine.containers()[1].1.clone();
    assert!(verdict(&sidecar, &name).await.contains("one-off"));
    assert_eq!(sidecar.spread(20).await, BTreeMap::from([("gateway-1".to_owned(), 20)]));
    assert_eq!(one_off.requests(), 0);
}

#[tokio::test]
async fn containers_of_other_services_and_projects_are_left_alone() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    for spec in [ContainerSpec::compose("shop", "billing", 1), ContainerSpec::compose("other", "gateway", 1)] {
        let replica = TestReplica::start("stranger");
        sidecar.engine.run(spec.network(NETWORK, replica.ip()).expose(replica.addr().port()));
    }
    sidecar.barrier().await;
    assert_eq!(sidecar.states().await.into_keys().collect::<Vec<_>>(), ["gateway-1"]);
}

#[tokio::test]
async fn of_several_networks_the_right_address_is_dialled() {
    let sidecar = Sidecar::start();
    let replica = TestReplica::start("gateway-1");
    let decoys = TestReplica::start_many(&["decoy-before", "decoy-after"]);
    let spec = spec_of(&replica).network("a_net", decoys[0].ip()).network("z_net", decoys[1].ip());
    let id = sidecar.engine.run(spec);
    sidecar.until_ready(&["gateway-1"]).await;
    assert_eq!(sidecar.replica("gateway-1").await.expect("listed")["addr"], replica.addr().to_string());
    assert_eq!(sidecar.get("/").await.text(), "gateway-1");

    // The others do not matter when they go.
    sidecar.engine.disconnect(&id, "a_net");
    sidecar.barrier().await;
    sidecar.until_ready(&["gateway-1"]).await;
}

#[tokio::test]
async fn a_replica_that_leaves_the_network_is_removed_and_returns_with_it() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    sidecar.engine.disconnect(&gateways[0].id, NETWORK);
    sidecar.until_gone("gateway-1").await;
    assert_eq!(sidecar.spread(10).await, BTreeMap::from([("gateway-2".to_owned(), 10)]));
    sidecar.engine.connect(&gateways[0].id, NETWORK, gateways[0].replica.ip());
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
}

#[tokio::test]
async fn signals_other_than_the_stop_signal_change_nothing() {
    let (sidecar, gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let picky = TestReplica::start("gateway-2");
    let picky_id = sidecar.engine.run(spec_of(&picky).stop_signal("SIGQUIT"));
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;

    sidecar.engine.kill(&gateways[0].id, 1);
    sidecar.engine.kill(&picky_id, 15);
    sidecar.barrier().await;
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;

    sidecar.engine.kill(&picky_id, 3);
    sidecar.until_state("gateway-2", "draining").await;
    assert_eq!(sidecar.spread(20).await, BTreeMap::from([("gateway-1".to_owned(), 20)]));
}

#[tokio::test]
async fn a_healthcheck_decides_when_there_is_one() {
    let sidecar = Sidecar::start();
    let replica = TestReplica::start("gateway-1");
    let id = sidecar.engine.run(spec_of(&replica).healthcheck());
    sidecar.until_state("gateway-1", "starting").await;
    assert_eq!(sidecar.get("/").await.status, 503);
    sidecar.engine.set_health(&id, "healthy");
    sidecar.until_ready(&["gateway-1"]).await;
    assert_eq!(sidecar.get("/").await.status, 200);
    sidecar.engine.set_health(&id, "unhealthy");
    sidecar.until_state("gateway-1", "unhealthy").await;
    assert_eq!(sidecar.get("/").await.status, 200, "there is no other");
    assert_eq!(sidecar.metric("evenkeel_replica_panic_picks_total", &["replica=\"gateway-1\""]).await, 1.0);
    let _second = sidecar.run("gateway-2");
    sidecar.until_ready(&["gateway-2"]).await;
    assert_eq!(sidecar.spread(10).await, BTreeMap::from([("gateway-2".to_owned(), 10)]));
    sidecar.engine.set_health(&id, "healthy");
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
}

#[tokio::test]
async fn a_probe_decides_too() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |settings| {
        let probe = &mut crate::support::docker(settings).defaults.probe;
        probe.path = Some("/health".to_owned());
        probe.interval = std::time::Duration::from_millis(20);
    })
    .await;
    gateways[0].replica.set_healthy(false);
    sidecar.until_state("gateway-1", "unhealthy").await;
    assert_eq!(sidecar.spread(10).await, BTreeMap::from([("gateway-2".to_owned(), 10)]));
    gateways[0].replica.set_healthy(true);
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
}

#[tokio::test]
async fn a_restarted_container_is_followed_to_its_new_address() {
    let (sidecar, gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let port = gateways[0].replica.addr().port();
    let moved = TestReplica::start_at("moved", std::net::SocketAddr::new([127, 200, 1, 77].into(), port))
        .expect("a free address");
    gateways[0].replica.crash().await;
    sidecar.engine.restart_at(&gateways[0].id, NETWORK, moved.ip());
    crate::support::until_some("the new address answers", async || {
        (sidecar.get("/").await.text() == "moved").then_some(())
    })
    .await;
    assert_eq!(sidecar.states().await.len(), 1);
}

#[tokio::test]
async fn containers_of_compose_v1_count_too() {
    let sidecar = Sidecar::start();
    let replica = TestReplica::start("gateway-4");
    let spec = ContainerSpec::compose_v1("shop", "gateway", 4);
    sidecar.engine.run(spec.network(NETWORK, replica.ip()).expose(replica.addr().port()));
    sidecar.until_ready(&["gateway-4"]).await;
    assert_eq!(sidecar.get("/").await.header("x-served-by"), Some("gateway-4"));
}

#[tokio::test]
async fn labels_make_a_service_that_requests_reach_by_host() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let replica = TestReplica::start("billing");
    let spec = ContainerSpec::plain("billing-main").network(NETWORK, replica.ip()).expose(1).expose(2);
    let port = replica.addr().port().to_string();
    let labels = [("evenkeel.enable", "true"), ("evenkeel.service", "billing"), ("evenkeel.port", &port)];
    sidecar.engine.run(labels.iter().fold(spec, |spec, (key, value)| spec.label(key, value)));
    sidecar.until_state("billing-main", "ready").await;

    let mut client = sidecar.client().await;
    let answer = client.request("GET", "/", &[("Host", "billing")], b"").await.expect("a whole answer");
    assert_eq!(answer.text(), "billing");
    assert_eq!(client.get("/").await.expect("a whole answer").text(), "gateway-1");
}

#[tokio::test]
async fn a_container_without_a_port_gets_a_verdict_that_says_so() {
    let sidecar = Sidecar::start();
    sidecar.engine.run(ContainerSpec::compose("shop", "gateway", 1).network(NETWORK, [127, 0, 9, 9]));
    assert!(verdict(&sidecar, "shop-gateway-1").await.contains("port"));
}
