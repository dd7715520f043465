//! A replica that was told to stop finishes what it has and gets nothing new.

use std::time::Duration;

use integration_tests::eventually;
use integration_tests::fake_engine::Endpoint;

use crate::support::{PATIENCE, Sidecar, Traffic, docker};

#[tokio::test]
async fn a_request_in_flight_finishes_and_new_ones_go_elsewhere() {
    let (sidecar, mut gateways) = Sidecar::with_replicas(1, |_| {}).await;
    gateways[0].replica.hold();
    let proxy = sidecar.proxy();
    let in_flight = tokio::spawn(async move { integration_tests::client::get(proxy, "/").await });
    eventually(PATIENCE, "the request arrives", async || gateways[0].replica.requests() == 1).await;

    gateways.push(sidecar.run("gateway-2"));
    sidecar.until_state("gateway-2", "ready").await;
    sidecar.engine.kill(&gateways[0].id, 15);
    sidecar.until_state("gateway-1", "draining").await;
    assert_eq!(sidecar.replica("gateway-1").await.expect("listed")["in_flight"], 1);
    assert_eq!(sidecar.spread(20).await.into_keys().collect::<Vec<_>>(), ["gateway-2"]);

    gateways[0].replica.release();
    let answer = in_flight.await.expect("no panic").expect("a whole answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "gateway-1"));
    sidecar.engine.die(&gateways[0].id);
    sidecar.until_gone("gateway-1").await;
}

#[tokio::test]
async fn relists_and_probes_that_pass_do_not_bring_a_draining_replica_back() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |settings| {
        docker(settings).resync_interval = Duration::from_millis(50);
        docker(settings).defaults.probe.interval = Duration::from_millis(10);
    })
    .await;
    sidecar.engine.kill(&gateways[0].id, 15);
    sidecar.until_state("gateway-1", "draining").await;
    // The engine still lists it as running.
    let (lists, probes) = (sidecar.engine.requests(Endpoint::List), gateways[1].replica.connections());
    eventually(PATIENCE, "three relists and ten probes", async || {
        sidecar.engine.requests(Endpoint::List) >= lists + 3 && gateways[1].replica.connections() >= probes + 10
    })
    .await;
    assert_eq!(sidecar.states().await["gateway-1"], "draining");
    assert_eq!(sidecar.spread(20).await.into_keys().collect::<Vec<_>>(), ["gateway-2"]);
}

#[tokio::test]
async fn scaling_up_and_down_under_traffic_loses_no_request() {
    let (sidecar, _gateways) = Sidecar::with_replicas(2, |_| {}).await;
    let traffic = Traffic::start(sidecar.proxy(), 8);
    for _ in 0..5 {
        let more = [sidecar.run("gateway-3"), sidecar.run("gateway-4")];
        sidecar.until_ready(&["gateway-1", "gateway-2", "gateway-3", "gateway-4"]).await;
        for gateway in more {
            sidecar.engine.kill(&gateway.id, 15);
            // It stops listening at once, before anybody can have heard of the signal.
            gateway.replica.refuse().await;
            gateway.replica.close_idle();
            sidecar.engine.die(&gateway.id);
            sidecar.engine.destroy(&gateway.id);
            // What it has is finished before it is gone.
            eventually(PATIENCE, "its requests end", async || {
                !sidecar.states().await.contains_key(gateway.replica.name())
            })
            .await;
        }
    }
    let report = traffic.stop().await;
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(report.answers.len() == 4, "{report:?}");
}

#[tokio::test]
async fn tunnels_and_counters_survive_relists() {
    let (sidecar, gateways) =
        Sidecar::with_replicas(1, |settings| docker(settings).resync_interval = Duration::from_millis(50)).await;
    let mut client = sidecar.client().await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "echo")];
    assert_eq!(client.request("GET", "/upgrade", &upgrade, b"").await.expect("an answer").status, 101);
    let lists = sidecar.engine.requests(Endpoint::List);
    sidecar.engine.rename(&gateways[0].id, "renamed");
    eventually(PATIENCE, "three relists", async || sidecar.engine.requests(Endpoint::List) >= lists + 3).await;
    client.send(b"still here").await.expect("the tunnel is open");
    assert_eq!(client.read_exactly(10).await.expect("an echo"), b"still here");
    assert_eq!(sidecar.replica("gateway-1").await.expect("listed")["in_flight"], 1);
}
