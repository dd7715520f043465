//! The example for a cloud's load balancer as it is written: the scenario is the balancer.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use integration_tests::client;

use crate::harness::docker::docker;
use crate::harness::{PATIENCE, Project, Tool};

const LAME_DUCK: Duration = Duration::from_secs(4);
const CHECK: &str = "GET /evenkeel-health HTTP/1.1\r\nHost: check\r\nConnection: close\r\n\r\n";
const HEADERS: &str = "GET /headers HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";
const PREFACE: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_does_what_it_says() {
    let group = std::fs::metadata("/var/run/docker.sock").unwrap().gid();
    let project = Project::of_example("cloud-lb", "evenkeel", Tool::V2)
        .with("DOCKER_GID", group.to_string())
        // What connects from this machine comes from Docker's bridge.
        .with("LB_ADDRESSES", "172.16.0.0/12,192.168.0.0/16,10.0.0.0/8")
        .with("LAME_DUCK", format!("{}s", LAME_DUCK.as_secs()));
    let admin = project.up(2).await;
    let proxy = project.proxy();

    let told = ask(proxy, &format!("{PREFACE}{HEADERS}")).await;
    assert!(told.starts_with("HTTP/1.1 200 ") && told.contains("x-real-ip: 192.0.2.7\n"), "{told}");
    assert_eq!(ask(proxy, HEADERS).await, "", "no header, no answer");
    let serving = [CHECK.to_owned(), format!("{PREFACE}{CHECK}")];
    for check in &serving {
        let answer = ask(proxy, check).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nserving\n"), "{answer}");
    }
    project.scale(0);
    admin.until_ready(0).await;
    let answer = ask(proxy, CHECK).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("no replica takes requests\n"), "{answer}");
    project.scale(2);
    admin.until_ready(2).await;

    let evenkeel = project.container("evenkeel", 1);
    docker(&["kill", "--signal", "TERM", &evenkeel]);
    let began = Instant::now();
    let mut served = 0;
    while !ask(proxy, CHECK).await.ends_with("shutting down\n") {
        assert!(began.elapsed() < PATIENCE, "it never says that it stops");
    }
    let after = began.elapsed();
    while began.elapsed() < LAME_DUCK * 3 / 4 {
        let told = ask(proxy, &format!("{PREFACE}{HEADERS}")).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        served += 1;
    }
    eprintln!("cloud-lb: 503 after {after:?}, {served} requests as a lame duck, none failed");
    assert!(after < LAME_DUCK / 4, "{after:?}");
    assert_eq!(docker(&["wait", &evenkeel]), "0");
}

/// All that comes back; nothing, if the connection is closed instead.
async fn ask(proxy: SocketAddr, bytes: &str) -> String {
    let heard = client::exchange(proxy, bytes.as_bytes()).await.unwrap_or_default();
    String::from_utf8_lossy(&heard).into_owned()
}
