//! evenkeel itself is restarted and recreated under load: plainly it is away for a moment, and with its port kept by
//! another container nobody notices but by waiting.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;

use integration_tests::callers::{Crowd, Tally};
use integration_tests::eventually;

use crate::harness::docker::docker;
use crate::harness::{Admin, PATIENCE, Project, Tool};

/// Clients of each habit.
const CLIENTS: usize = 8;
/// Between two restarts.
const REQUESTS: u64 = 1_000;
/// Restarts, and as many recreations, in one run.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plainly() {
    // Docker gives a restarted container other free ports.
    let project = Project::new("balancer_restart", Tool::V2)
        .with("EVENKEEL_PORT", free_port())
        .with("EVENKEEL_ADMIN_PORT", free_port());
    let tallies = restart_under_load(&project, "plainly").await;
    let lost: u64 = tallies.iter().map(|tally| tally.refused + tally.failures.len() as u64).sum();
    assert!(lost > 0, "or keeping the port would be for nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_port_kept() {
    let group = std::fs::metadata("/var/run/docker.sock").unwrap().gid();
    let project = Project::of_example("no-gap", "port", Tool::V2).with("DOCKER_GID", group.to_string());
    let tallies = restart_under_load(&project, "port kept").await;
    assert!(tallies.iter().all(Tally::is_clean), "{tallies:?}");

    follows_the_networks_of_the_port(&project).await;
}

/// The replicas are found by the networks of the container whose network evenkeel shares, also when they change.
async fn follows_the_networks_of_the_port(project: &Project) {
    let (network, name) = (format!("{}_extra", project.name()), format!("{}-extra", project.name()));
    let label = format!("com.docker.compose.project={}", project.name());
    let admin = project.up(2).await;
    docker(&["network", "create", "--label", &label, &network]);
    docker(
        &[
            &["run", "--detach", "--name", &name, "--network", &network, "--label", &label] as &[_],
            &["--label=evenkeel.enable=true", "--label=evenkeel.service=gateway", "evenkeel-replica:local"],
        ]
        .concat(),
    );
    let id = docker(&["inspect", "--format", "{{.Id}}", &name]);
    eventually(PATIENCE, "it cannot be reached", async || {
        admin.verdict(&id).await.as_deref() == Some("no-shared-network")
    })
    .await;
    docker(&["network", "connect", &network, &project.container("port", 1)]);
    admin.until_ready(3).await;
    docker(&["network", "disconnect", &network, &project.container("port", 1)]);
    admin.until_ready(2).await;
    docker(&["rm", "--force", &name]);
    docker(&["network", "rm", &network]);
}

fn free_port() -> String {
    TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port().to_string()
}

async fn restart_under_load(project: &Project, what: &str) -> [Tally; 3] {
    let admin = project.up(2).await;
    let crowd = Crowd::start(CLIENTS, project.proxy(), "/slow?ms=5");
    until_requests_come_through(&admin).await;
    for _ in 0..ROUNDS {
        docker(&["restart", &project.container("evenkeel", 1)]);
        until_requests_come_through(&admin).await;
        project.compose(&["up", "-d", "--no-deps", "--force-recreate", "evenkeel"]);
        until_requests_come_through(&admin).await;
    }
    let tallies = crowd.stop().await;
    for (name, tally) in Crowd::NAMES.iter().zip(&tallies) {
        eprintln!("{what}, {name}: {tally}");
    }
    tallies
}

/// Until the evenkeel that runs now has its replicas, and so many requests have reached them.
async fn until_requests_come_through(admin: &Admin) {
    admin.until_ready(2).await;
    eventually(PATIENCE, "requests come through", async || {
        admin.replicas().await.iter().map(|replica| replica.requests).sum::<u64>() > REQUESTS
    })
    .await;
}
