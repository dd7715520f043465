//! `docker restart` under load: the same container leaves, comes back and takes requests again, and none is lost.

use integration_tests::eventually;

use crate::harness::docker::docker;
use crate::harness::{Load, PATIENCE, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_replica_comes_back() {
    let project = Project::new("restart", Tool::V2);
    let admin = project.up(2).await;
    let id = project.container("gateway", 1);
    let events = project.events("health_status");
    let load = Load::start(project.proxy(), "/slow?ms=5");

    docker(&["restart", &id]);
    eventually(PATIENCE, "the restarted container is healthy", async || {
        events.first("health_status: healthy", "gateway-1").is_some()
    })
    .await;
    let before = load.tally().answers["gateway-1"];
    admin.until_ready(2).await;
    assert_eq!(admin.replica("gateway-1").await.unwrap().id, id);
    eventually(PATIENCE, "it answers again", async || load.tally().answers["gateway-1"] > before + 100).await;
    load.stop().await.assert_clean();
}
