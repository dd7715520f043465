//! The drop-in: a service that calls `gateway:3001` reaches evenkeel, which runs without root, writes nothing and has
//! no capability.

use std::os::unix::fs::MetadataExt as _;

use crate::harness::docker::inspect;
use crate::harness::{Project, Tool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v2() {
    let project = unprivileged(Tool::V2);
    project.compose(&["up", "-d", "--wait"]);
    callers_reach_every_replica_by_the_old_name(&project).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v1() {
    callers_reach_every_replica_by_the_old_name(&unprivileged(Tool::V1)).await;
}

fn unprivileged(tool: Tool) -> Project {
    let group = std::fs::metadata("/var/run/docker.sock").unwrap().gid();
    Project::new("drop_in", tool).with("EVENKEEL_USER", format!("65532:{group}"))
}

async fn callers_reach_every_replica_by_the_old_name(project: &Project) {
    project.up(2).await;
    let calls = ["http://gateway:3001/"; 8];
    let said = project.compose(&[["run", "--rm", "caller", "get"].as_slice(), &calls].concat());
    for replica in ["gateway-1", "gateway-2"] {
        let line = format!("http://gateway:3001/ 200 {replica}");
        assert!(said.contains(&line), "no {line:?} in:\n{said}");
    }

    let evenkeel = inspect(&project.container("evenkeel", 1));
    assert!(evenkeel["Config"]["User"].as_str().unwrap().starts_with("65532:"));
    assert_eq!(evenkeel["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(evenkeel["HostConfig"]["CapDrop"][0], "ALL");
    let gateway = inspect(&project.container("gateway", 1));
    assert!(gateway["NetworkSettings"]["Ports"]["3001/tcp"].is_null(), "replicas publish nothing");
}
