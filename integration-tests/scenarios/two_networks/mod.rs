//! A container on two networks is reached on the one that evenkeel shares.

use crate::harness::docker::inspect;
use crate::harness::{Load, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_is_the_shared_networks() {
    let project = Project::new("two_networks", Tool::V2);
    let admin = project.up(2).await;
    let shared = format!("{}_gateways", project.name());
    for replica in admin.replicas().await {
        let networks = &inspect(&replica.id)["NetworkSettings"]["Networks"];
        assert_eq!(networks.as_object().unwrap().len(), 2, "{networks}");
        assert_eq!(networks[&shared]["IPAddress"].as_str().unwrap(), replica.addr.ip().to_string());
        assert_eq!((replica.network.as_deref(), replica.addr.port()), (Some(shared.as_str()), 3001));
    }
    Load::exactly(200, project.proxy(), "/").await.assert_clean();
}
