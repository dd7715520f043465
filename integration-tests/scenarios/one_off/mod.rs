//! A container of `compose run gateway` looks like a replica and is none.

use integration_tests::client::Client;
use integration_tests::eventually;

use crate::harness::docker::inspect;
use crate::harness::{PATIENCE, Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v2() {
    a_one_off_gets_no_request(Tool::V2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v1() {
    a_one_off_gets_no_request(Tool::V1).await;
}

async fn a_one_off_gets_no_request(tool: Tool) {
    let project = Project::new("one_off", tool);
    let admin = project.up(2).await;
    let container = format!("{}-one-off", project.name());
    project.compose(&["run", "-d", "--no-deps", "--name", &container, "gateway"]);
    let id = inspect(&container)["Id"].as_str().unwrap().to_owned();

    let is_running = async || inspect(&container)["State"]["Health"]["Status"] == "healthy";
    eventually(PATIENCE, "the one-off is healthy", is_running).await;
    eventually(PATIENCE, "its verdict", async || admin.verdict(&id).await.as_deref() == Some("one-off")).await;
    assert_eq!(admin.replicas().await.len(), 2);

    // Compose numbers one-offs as well, so the name in X-Served-By would not tell: the hostname does.
    let mut client = Client::connect(project.proxy()).await.unwrap();
    let replicas = [1, 2].map(|number| project.container("gateway", number)[..12].to_owned());
    for _ in 0..200 {
        let hostname = client.get("/").await.unwrap().text().trim().to_owned();
        assert!(replicas.contains(&hostname), "{hostname} answered, replicas are {replicas:?}");
    }
}
