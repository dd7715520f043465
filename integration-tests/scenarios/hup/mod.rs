//! `docker kill -s HUP` is a `kill` event that ends nothing: it changes nothing.

use integration_tests::eventually;

use crate::harness::docker::docker;
use crate::harness::{Load, PATIENCE, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hup_changes_nothing() {
    let project = Project::new("hup", Tool::V2);
    let admin = project.up(2).await;
    let load = Load::start(project.proxy(), "/slow?ms=5");
    let events = async || admin.metric("evenkeel_discovery_events_total").await.unwrap_or_default();
    let before = events().await;

    docker(&["kill", "-s", "HUP", &project.container("gateway", 1)]);
    eventually(PATIENCE, "evenkeel has heard of it", async || events().await > before).await;
    let asked = load.tally().answers["gateway-1"];
    eventually(PATIENCE, "it goes on answering", async || {
        assert_eq!(admin.state("gateway-1").await, "ready");
        load.tally().answers["gateway-1"] > asked + 500
    })
    .await;
    load.stop().await.assert_clean();
}
