//! The order in which evenkeel stops.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use integration_tests::client::{self, Client};
use integration_tests::eventually;

use crate::support::{PATIENCE, Sidecar, Traffic};

#[tokio::test]
async fn ready_after_the_first_sync_whether_or_not_there_are_replicas() {
    let sidecar = Sidecar::start();
    eventually(PATIENCE, "ready", async || {
        client::get(sidecar.admin(), "/readyz").await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(client::get(sidecar.admin(), "/healthz").await.expect("an answer").status, 200);
    assert_eq!(sidecar.api("replicas").await.len(), 0);
    sidecar.shutdown().await;
}

#[tokio::test]
async fn not_ready_while_the_engine_has_never_answered() {
    let sidecar = Sidecar::start_with(|settings| {
        crate::support::docker(settings).host = "unix:///nowhere/docker.sock".to_owned();
    });
    assert_eq!(client::get(sidecar.admin(), "/readyz").await.expect("an answer").status, 503);
    assert_eq!(sidecar.get("/").await.status, 503);
    sidecar.shutdown().await;
}

#[tokio::test]
async fn without_docker_it_stops_too() {
    let sidecar = Sidecar::start_with(|settings| settings.docker.clear());
    tokio::time::timeout(PATIENCE, sidecar.shutdown()).await.expect("in time");
}

#[tokio::test]
async fn a_request_in_flight_finishes_and_new_connections_are_refused() {
    let (sidecar, gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let proxy = sidecar.proxy();
    let mut idle = sidecar.client().await;
    assert_eq!(idle.get("/").await.expect("an answer").status, 200);
    gateways[0].replica.hold();
    let in_flight = tokio::spawn(async move { Client::connect(proxy).await?.get("/").await });
    eventually(PATIENCE, "the request arrives", async || gateways[0].replica.requests() == 2).await;

    let (_engine, app) = sidecar.into_parts();
    let shutdown = tokio::spawn(app.shutdown());
    eventually(PATIENCE, "new connections are refused", async || {
        Client::connect(proxy).await.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    assert_eq!(idle.read_to_end().await.expect("idle connections are closed"), b"");
    assert!(!shutdown.is_finished());

    gateways[0].replica.release();
    let answer = in_flight.await.expect("no panic").expect("a whole answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "gateway-1"));
    tokio::time::timeout(PATIENCE, shutdown).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn a_lame_duck_is_not_ready_and_still_serves() {
    let lame_duck = Duration::from_secs(2);
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |settings| settings.shutdown.lame_duck = lame_duck).await;
    let (proxy, admin) = (sidecar.proxy(), sidecar.admin());
    let (_engine, app) = sidecar.into_parts();
    let shutdown = tokio::spawn(app.shutdown());
    eventually(PATIENCE, "not ready", async || {
        client::get(admin, "/readyz").await.is_ok_and(|answer| answer.status == 503)
    })
    .await;
    assert_eq!(client::get(proxy, "/").await.expect("an answer").status, 200);
    assert!(!shutdown.is_finished());
    tokio::time::timeout(PATIENCE, shutdown).await.expect("in time").expect("no panic");
    assert!(client::get(proxy, "/").await.is_err());
}

#[tokio::test]
async fn the_health_endpoint_says_503_at_once_while_a_lame_duck_serves_everything_else() {
    let lame_duck = Duration::from_secs(3);
    let (sidecar, _gateways) = Sidecar::with_replicas(2, |settings| {
        settings.shutdown.lame_duck = lame_duck;
        settings.proxy.health_endpoint = Some("/lb-health".to_owned());
    })
    .await;
    let proxy = sidecar.proxy();
    let mut kept = sidecar.client().await;
    assert_eq!(kept.get("/lb-health").await.expect("an answer").status, 200);
    let traffic = Traffic::start(proxy, 4);
    let (_engine, app) = sidecar.into_parts();
    let began = Instant::now();
    let shutdown = tokio::spawn(app.shutdown());
    eventually(PATIENCE, "the balancer in front is told", async || {
        client::get(proxy, "/lb-health").await.is_ok_and(|answer| answer.status == 503)
    })
    .await;
    assert!(began.elapsed() < lame_duck / 3, "{:?}", began.elapsed());
    let answer = kept.get("/lb-health").await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (503, "shutting down\n"));
    while began.elapsed() < lame_duck * 2 / 3 {
        assert_eq!(client::get(proxy, "/").await.expect("an answer").status, 200);
        assert_eq!(client::get(proxy, "/lb-health").await.expect("an answer").status, 503);
    }
    let report = traffic.stop().await;
    assert!(began.elapsed() < lame_duck && !shutdown.is_finished(), "it was no lame duck any more");
    assert_eq!(report.failures, Vec::<String>::new());
    assert!(report.answers.len() == 2, "{report:?}");
    tokio::time::timeout(PATIENCE, shutdown).await.expect("in time").expect("no panic");
    assert!(client::get(proxy, "/lb-health").await.is_err());
}

#[tokio::test]
async fn what_takes_longer_than_the_timeout_is_cut() {
    let (sidecar, gateways) =
        Sidecar::with_replicas(1, |settings| settings.shutdown.timeout = Duration::from_millis(200)).await;
    let proxy = sidecar.proxy();
    gateways[0].replica.hold();
    let in_flight = tokio::spawn(async move { client::get(proxy, "/").await });
    eventually(PATIENCE, "the request arrives", async || gateways[0].replica.requests() == 1).await;
    tokio::time::timeout(PATIENCE, sidecar.shutdown()).await.expect("in time");
    let answer = in_flight.await.expect("no panic");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 500));
}
