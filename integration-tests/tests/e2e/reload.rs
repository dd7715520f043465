//! Settings that change while evenkeel follows an engine.

use std::time::Duration;

use crate::support::{Sidecar, Traffic, docker, until_some};

#[tokio::test]
async fn other_defaults_hold_for_containers_at_once_and_cost_no_request() {
    let (mut sidecar, gateways) = Sidecar::with_replicas(2, |settings| {
        docker(settings).defaults.probe.interval = Duration::from_millis(20);
    })
    .await;
    gateways[0].replica.set_healthy(false);
    let traffic = Traffic::start(sidecar.proxy(), 4);
    sidecar.change(|settings| docker(settings).defaults.probe.path = Some("/health".to_owned()));
    sidecar.until_state("gateway-1", "unhealthy").await;
    sidecar.change(|settings| docker(settings).defaults.probe.path = None);
    sidecar.until_ready(&["gateway-1", "gateway-2"]).await;
    let report = traffic.stop().await;
    assert_eq!(report.failures, [""; 0]);
    for (name, answers) in report.answers {
        until_some(&format!("all of {name} is counted"), async || {
            (sidecar.replica(&name).await?["requests"] == answers).then_some(())
        })
        .await;
    }
}
