//! `docker kill` under load: at most the requests that were with the killed replica are lost, and none after.

use crate::harness::docker::docker;
use crate::harness::{Load, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_takes_at_most_its_own_requests_along() {
    let project = Project::new("kill_nine", Tool::V2);
    let admin = project.up(3).await;
    let load = Load::start(project.proxy(), "/slow?ms=5");
    let id = project.container("gateway", 2);

    docker(&["kill", &id]);
    admin.until_state("gateway-2", "gone").await;
    let tally = load.stop().await;
    eprintln!("{} answers, {} failures: {:?}", tally.total(), tally.failures.len(), tally.failures);
    assert!(tally.failures.len() <= 16, "{:?}", tally.failures);

    let tally = Load::exactly(1_000, project.proxy(), "/").await;
    tally.assert_clean();
    assert_eq!(tally.replicas(), ["gateway-1", "gateway-3"]);

    docker(&["start", &id]);
    admin.until_ready(3).await;
    let tally = Load::exactly(1_000, project.proxy(), "/").await;
    tally.assert_clean();
    assert_eq!(tally.replicas(), ["gateway-1", "gateway-2", "gateway-3"]);
}
