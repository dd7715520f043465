//! `docker compose up -d` recreates the only replica of a service: the old container is gone before the new one starts.
//! The requests of that gap wait, and none is lost.

use crate::harness::{Load, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_only_replica_costs_time_and_no_request() {
    let project = Project::new("recreate", Tool::V2);
    let admin = project.up(1).await;
    let old = project.container("gateway", 1);
    let load = Load::start(project.proxy(), "/slow?ms=5");

    project.compose(&["up", "--detach", "--no-deps", "--force-recreate", "--scale", "gateway=1", "gateway"]);
    let new = admin.until_ready(1).await;
    assert_ne!(new[0].id, old);
    Load::exactly(1_000, project.proxy(), "/").await.assert_clean();
    load.stop().await.assert_clean();
    let holds = admin.metric("evenkeel_holds_total").await;
    assert!(holds >= Some(16.0), "every client had to wait: {holds:?}");
}
