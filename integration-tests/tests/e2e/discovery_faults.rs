//! What happens to routing when the engine, its socket or its events misbehave.

use std::time::Duration;

use integration_tests::fake_engine::Endpoint;
use integration_tests::{TestReplica, eventually};

use crate::support::{PATIENCE, Sidecar, Traffic, docker, spec_of};

#[tokio::test]
async fn a_stalled_engine_is_noticed_within_ten_seconds_and_loses_nothing() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    sidecar.until_connected(true).await;
    let traffic = Traffic::start(sidecar.proxy(), 2);

    sidecar.engine.stall();
    // PATIENCE is the ten seconds.
    sidecar.until_connected(false).await;
    assert_eq!(sidecar.spread(20).await.len(), 2);
    let third = sidecar.run("gateway-3");
    sidecar.engine.remove(&gateways[1].id);

    sidecar.engine.unstall();
    sidecar.until_connected(true).await;
    sidecar.until_ready(&["gateway-1", "gateway-3"]).await;
    sidecar.until_gone("gateway-2").await;
    eventually(PATIENCE, "the third gets requests", async || third.replica.requests() > 0).await;
    let report = traffic.stop().await;
    assert_eq!(report.failures, Vec::<String>::new());
}

#[tokio::test]
async fn events_that_never_came_are_made_up_for_by_the_next_resync() {
    let (sidecar, gateways) =
        Sidecar::with_replicas(2, |settings| docker(settings).resync_interval = Duration::from_millis(100)).await;
    sidecar.engine.drop_events(true);
    let _third = sidecar.run("gateway-3");
    sidecar.engine.remove(&gateways[0].id);
    sidecar.until_ready(&["gateway-2", "gateway-3"]).await;
    sidecar.until_gone("gateway-1").await;
}

#[tokio::test]
async fn a_stream_that_goes_deaf_while_pings_are_answered_is_opened_again() {
    let (sidecar, gateways) =
        Sidecar::with_replicas(2, |settings| docker(settings).resync_interval = Duration::from_millis(300)).await;
    let (lists, streams) = (sidecar.engine.requests(Endpoint::List), sidecar.engine.requests(Endpoint::Events));
    eventually(PATIENCE, "quiet lists", async || sidecar.engine.requests(Endpoint::List) >= lists + 3).await;
    assert_eq!(sidecar.engine.requests(Endpoint::Events), streams, "quiet is not deaf");

    sidecar.engine.drop_events(true);
    sidecar.engine.remove(&gateways[0].id);
    eventually(PATIENCE, "the stream is opened again", async || sidecar.engine.requests(Endpoint::Events) > streams)
        .await;
    sidecar.engine.drop_events(false);
    sidecar.until_gone("gateway-1").await;
    let _third = sidecar.run("gateway-3");
    sidecar.until_ready(&["gateway-2", "gateway-3"]).await;
}

#[tokio::test]
async fn doubled_events_make_no_doubles() {
    let (sidecar, gateways) = Sidecar::with_replicas(1, |_| {}).await;
    sidecar.engine.duplicate_events(true);
    let second = sidecar.run("gateway-2");
    let _third = sidecar.run("gateway-3");
    sidecar.until_ready(&["gateway-1", "gateway-2", "gateway-3"]).await;
    sidecar.engine.pause(&gateways[0].id);
    sidecar.engine.unpause(&gateways[0].id);
    sidecar.engine.remove(&second.id);
    sidecar.until_ready(&["gateway-1", "gateway-3"]).await;
    assert_eq!(sidecar.api("replicas").await.len(), 2);
}

#[tokio::test]
async fn events_out_of_order_end_in_the_truth_by_the_next_resync() {
    let (sidecar, gateways) =
        Sidecar::with_replicas(2, |settings| docker(settings).resync_interval = Duration::from_millis(500)).await;
    let engine = &sidecar.engine;
    engine.hold_events();
    engine.die(&gateways[0].id);
    engine.start_container(&gateways[0].id);
    engine.pause(&gateways[1].id);
    engine.unpause(&gateways[1].id);
    let third = sidecar.run("gateway-3");
    engine.remove(&third.id);
    let _fourth = sidecar.run("gateway-4");
    engine.release_events(|events| events.reverse());
    sidecar.until_ready(&["gateway-1", "gateway-2", "gateway-4"]).await;
    sidecar.barrier().await;
    sidecar.until_ready(&["gateway-1", "gateway-2", "gateway-4"]).await;
    assert_eq!(sidecar.api("replicas").await.len(), 3);
}

#[tokio::test]
async fn a_stream_that_dies_mid_event_is_opened_again_and_what_it_missed_is_found() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    sidecar.engine.drop_events(true);
    let _third = sidecar.run("gateway-3");
    sidecar.engine.remove(&gateways[0].id);
    sidecar.engine.drop_events(false);
    sidecar.engine.cut_streams_mid_event();
    sidecar.until_ready(&["gateway-2", "gateway-3"]).await;

    sidecar.engine.cut_streams();
    sidecar.until_following().await;
    let _fourth = sidecar.run("gateway-4");
    sidecar.until_ready(&["gateway-2", "gateway-3", "gateway-4"]).await;
}

#[tokio::test]
async fn an_undecodable_event_costs_a_reconnect_and_no_request() {
    let (sidecar, _gateways) = Sidecar::with_replicas(2, |_| {}).await;
    let traffic = Traffic::start(sidecar.proxy(), 2);
    let before = sidecar.engine.requests(Endpoint::Events);
    sidecar.engine.send_raw_event("{\"Type\":\"toaster\",\"Action\":\"pop\"}\n");
    eventually(PATIENCE, "the stream is opened again", async || {
        sidecar.engine.requests(Endpoint::Events) > before && sidecar.engine.open_streams() == 1
    })
    .await;
    let _third = sidecar.run("gateway-3");
    sidecar.until_ready(&["gateway-1", "gateway-2", "gateway-3"]).await;
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn an_address_that_another_service_takes_over_gets_no_request_of_the_old_one() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    // Pools to both are warm.
    assert_eq!(sidecar.spread(40).await.len(), 2);
    let traffic = Traffic::start(sidecar.proxy(), 4);

    let address = gateways[0].replica.addr();
    sidecar.engine.kill(&gateways[0].id, 15);
    sidecar.until_state("gateway-1", "draining").await;
    gateways[0].replica.crash().await;
    sidecar.engine.die(&gateways[0].id);
    sidecar.until_gone("gateway-1").await;
    let billing = TestReplica::start_at("billing-1", address).expect("the address is free again");
    let labelled = spec_of(&billing).label("evenkeel.enable", "true");
    sidecar.engine.run(labelled);
    sidecar.until_state("billing-1", "ready").await;

    assert_eq!(sidecar.spread(100).await.into_keys().collect::<Vec<_>>(), ["gateway-2"]);
    let report = traffic.stop().await;
    assert!(!report.answers.contains_key("billing-1"), "{report:?}");
    assert_eq!(billing.requests(), 0);
}

#[tokio::test]
async fn traffic_goes_on_while_the_socket_is_gone() {
    let (sidecar, gateways) = Sidecar::with_replicas(3, |_| {}).await;
    sidecar.until_connected(true).await;
    let traffic = Traffic::start(sidecar.proxy(), 4);

    sidecar.engine.go_away().await;
    sidecar.until_connected(false).await;
    assert_eq!(sidecar.spread(60).await.len(), 3);
    let _fourth = sidecar.run("gateway-4");
    gateways[0].replica.refuse().await;
    gateways[0].replica.close_idle();
    sidecar.engine.remove(&gateways[0].id);

    sidecar.engine.come_back();
    sidecar.until_connected(true).await;
    sidecar.until_ready(&["gateway-2", "gateway-3", "gateway-4"]).await;
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn an_engine_that_is_away_at_the_start_is_found_when_it_comes() {
    let sidecar = Sidecar::start();
    sidecar.engine.go_away().await;
    let _first = sidecar.run("gateway-1");
    assert_eq!(sidecar.get("/").await.status, 503);
    sidecar.engine.come_back();
    sidecar.until_ready(&["gateway-1"]).await;
}

#[tokio::test]
async fn an_event_touches_one_container_and_relists_nothing() {
    let (sidecar, gateways) = Sidecar::with_replicas(4, |_| {}).await;
    sidecar.barrier().await;
    let (lists, inspects) = (sidecar.engine.requests(Endpoint::List), sidecar.engine.requests(Endpoint::Inspect));
    for _ in 0..50 {
        sidecar.engine.exec_noise(&gateways[0].id);
        sidecar.engine.kill(&gateways[1].id, 1);
        sidecar.engine.pause(&gateways[2].id);
        sidecar.engine.unpause(&gateways[2].id);
    }
    sidecar.barrier().await;
    sidecar.until_ready(&["gateway-1", "gateway-2", "gateway-3", "gateway-4"]).await;
    assert_eq!(sidecar.engine.requests(Endpoint::List), lists);
    // At most one inspect for each unpause, and a few for the barrier's container.
    assert!(sidecar.engine.requests(Endpoint::Inspect) <= inspects + 50 + 10);
}

#[tokio::test]
async fn a_slow_inspect_holds_up_nobody_else() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    sidecar.engine.delay(Endpoint::Inspect, Duration::from_secs(3));
    let _third = sidecar.run("gateway-3");
    let start = std::time::Instant::now();
    sidecar.engine.kill(&gateways[0].id, 15);
    sidecar.until_state("gateway-1", "draining").await;
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

#[tokio::test]
async fn an_inspect_that_fails_while_a_list_is_under_way_is_made_up_for_soon() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let engine = &sidecar.engine;
    engine.delay(Endpoint::List, Duration::from_millis(500));
    let lists = engine.requests(Endpoint::List);
    engine.cut_streams();
    eventually(PATIENCE, "a list is under way", async || engine.requests(Endpoint::List) > lists).await;
    engine.fail(Endpoint::Inspect, true);
    let inspects = engine.requests(Endpoint::Inspect);
    let _second = sidecar.run("gateway-2");
    eventually(PATIENCE, "the inspect fails", async || engine.requests(Endpoint::Inspect) > inspects).await;
    sidecar.until_connected(true).await;
    engine.fail(Endpoint::Inspect, false);
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
}

#[tokio::test]
async fn an_engine_that_lists_but_ends_its_streams_is_not_besieged() {
    let sidecar = Sidecar::start_with(|_| {});
    // The list is answered first, so that each connection looks like a good one for a moment.
    sidecar.engine.delay(Endpoint::Events, Duration::from_millis(30));
    sidecar.engine.fail(Endpoint::Events, true);
    sidecar.engine.cut_streams();
    let start = std::time::Instant::now();
    let before = sidecar.engine.requests(Endpoint::Events);
    eventually(PATIENCE, "six more streams are opened", async || {
        sidecar.engine.requests(Endpoint::Events) >= before + 6
    })
    .await;
    // At the least half of 100, 200, 400, 800 and 1600 ms lie between them.
    assert!(start.elapsed() > Duration::from_millis(1500), "took {:?}", start.elapsed());

    sidecar.engine.fail(Endpoint::Events, false);
    let _first = sidecar.run("gateway-1");
    sidecar.until_ready(&["gateway-1"]).await;
}
