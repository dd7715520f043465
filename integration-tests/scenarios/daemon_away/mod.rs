//! The engine's socket goes away and comes back: traffic goes on, and what changed meanwhile is seen after.

use std::time::Duration;

use integration_tests::eventually;
use tokio::time::Instant;

use crate::harness::docker::docker;
use crate::harness::{Load, PATIENCE, Project, Relay, Tool};

/// At least so long is the socket away.
const AWAY: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_goes_on_without_the_engine() {
    let mut relay = Relay::new();
    let directory = relay.directory().to_str().unwrap().to_owned();
    let project = Project::new("daemon_away", Tool::V2).with("EVENKEEL_SOCKET_DIR", directory);
    let admin = project.up(3).await;
    let connected = async |value| admin.metric("evenkeel_discovery_connected").await == Some(value);
    eventually(PATIENCE, "connected", async || connected(1.0).await).await;
    let load = Load::start(project.proxy(), "/slow?ms=5");

    relay.cut();
    let since = Instant::now();
    eventually(PATIENCE, "not connected", async || connected(0.0).await).await;
    // One goes, two come, and evenkeel cannot know.
    docker(&["rm", "--force", &project.container("gateway", 1)]);
    docker(&["stop", &project.container("gateway", 2)]);
    project.scale(4);
    let at_least = load.tally().total() + 1_000;
    eventually(PATIENCE, "traffic goes on", async || since.elapsed() > AWAY && load.tally().total() > at_least).await;
    let away = admin.replicas().await;
    assert_eq!(away.len(), 3, "without the engine the last truth stays: {away:#?}");
    assert!(connected(0.0).await && admin.is_ready().await);

    relay.heal();
    let replicas = admin.until_ready(4).await;
    assert!(connected(1.0).await);
    let before = load.tally();
    for replica in replicas {
        let of = |answers: &std::collections::BTreeMap<String, u64>| answers.get(&replica.name).copied().unwrap_or(0);
        eventually(PATIENCE, "all four answer", async || of(&load.tally().answers) > of(&before.answers)).await;
    }
    let tally = load.stop().await;
    eprintln!("{} answers, {} failures: {:?}", tally.total(), tally.failures.len(), tally.failures);
    // The replica that was killed took at most its open requests along.
    assert!(tally.failures.len() <= 16, "{:?}", tally.failures);
}
