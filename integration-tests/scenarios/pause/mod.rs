//! `docker pause` takes a replica out within 100 ms, and `unpause` puts it back; what it had is answered then.

use std::time::{Duration, SystemTime};

use integration_tests::eventually_some;

use crate::harness::docker::docker;
use crate::harness::{Load, PATIENCE, Project, Tool};

/// From the engine's event to the replica being out.
const EVENT_TO_OUT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_replica_is_out_until_it_is_unpaused() {
    let project = Project::new("pause", Tool::V2);
    let admin = project.up(3).await;
    let id = project.container("gateway", 2);
    let events = project.events("pause");
    let load = Load::start(project.proxy(), "/slow?ms=5");

    let pausing = tokio::task::spawn_blocking({
        let id = id.clone();
        move || docker(&["pause", &id])
    });
    admin.until_state("gateway-2", "paused").await;
    let out = SystemTime::now();
    pausing.await.unwrap();
    let event = eventually_some(PATIENCE, "the event", async || events.first("pause", "gateway-2")).await;
    // The witness may learn of it after evenkeel has acted on it: that is no delay at all.
    let delay = out.duration_since(event.at).unwrap_or_default();
    eprintln!("out {delay:?} after the event");
    assert!(delay < EVENT_TO_OUT, "out only {delay:?} after the event");

    let before = admin.replica("gateway-2").await.unwrap();
    let tally = Load::exactly(1_000, project.proxy(), "/").await;
    tally.assert_clean();
    assert_eq!(tally.replicas(), ["gateway-1", "gateway-3"]);
    let after = admin.replica("gateway-2").await.unwrap();
    assert_eq!((after.in_flight, after.requests), (before.in_flight, before.requests), "it got requests while paused");

    docker(&["unpause", &id]);
    admin.until_ready(3).await;
    let tally = Load::exactly(1_000, project.proxy(), "/").await;
    assert_eq!(tally.replicas(), ["gateway-1", "gateway-2", "gateway-3"]);
    load.stop().await.assert_clean();
}
