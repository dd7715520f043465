//! Behind a proxy that lets through the documented reads and nothing else, evenkeel lacks nothing.

use tempfile::TempDir;

use crate::harness::docker::docker;
use crate::harness::{Load, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_endpoints_are_enough() {
    let empty = TempDir::new().unwrap();
    let project = Project::new("socket_proxy", Tool::V2)
        .with("EVENKEEL_USER", "65532:65532")
        .with("EVENKEEL_SOCKET_DIR", empty.path().to_str().unwrap());
    let admin = project.up(2).await;
    docker(&["pause", &project.container("gateway", 1)]);
    admin.until_state("gateway-1", "paused").await;
    docker(&["unpause", &project.container("gateway", 1)]);
    project.scale(4);
    admin.until_ready(4).await;
    project.scale(1);
    admin.until_ready(1).await;
    Load::exactly(200, project.proxy(), "/").await.assert_clean();
    let log = docker(&["logs", &project.container("socket-proxy", 1)]);
    assert!(log.contains("listens on"), "the proxy's log has its first line: {log}");
    assert!(!log.contains("refused"), "{log}");
}
