//! A running, healthy container that leaves the shared network is no replica any more; back on it, it is one again.

use crate::harness::docker::docker;
use crate::harness::{Load, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_replica_is_gone_until_it_is_connected_again() {
    let project = Project::new("network_disconnect", Tool::V2);
    let admin = project.up(2).await;
    let (id, network) = (project.container("gateway", 2), format!("{}_gateways", project.name()));

    docker(&["network", "disconnect", &network, &id]);
    admin.until_state("gateway-2", "gone").await;
    assert_eq!(admin.verdict(&id).await.as_deref(), Some("no-shared-network"));
    let tally = Load::exactly(1_000, project.proxy(), "/").await;
    tally.assert_clean();
    assert_eq!(tally.replicas(), ["gateway-1"]);

    docker(&["network", "connect", &network, &id]);
    admin.until_ready(2).await;
    let tally = Load::exactly(1_000, project.proxy(), "/").await;
    tally.assert_clean();
    assert_eq!(tally.replicas(), ["gateway-1", "gateway-2"]);
}
