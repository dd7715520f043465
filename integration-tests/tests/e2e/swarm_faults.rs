//! What happens to routing when the Swarm's managers, their sockets or their answers misbehave.

use std::time::Duration;

use evenkeel::config::settings::ManagerHost;
use integration_tests::fake_engine::Endpoint;
use integration_tests::{FakeEngine, eventually};

use crate::support::{PATIENCE, Traffic};
use crate::swarm::Fleet;

const TWO: [&str; 2] = ["gateway.1@node-1", "gateway.2@node-2"];

#[tokio::test]
async fn what_changed_while_the_manager_was_away_is_seen_after() {
    let (fleet, tasks, mut later) = Fleet::with(&TWO, &["gateway.3@node-2"], |_| {}).await;
    let traffic = Traffic::start(fleet.sidecar.proxy(), 4);
    fleet.sidecar.engine.go_away().await;
    fleet.sidecar.until_connected(false).await;
    assert_eq!(fleet.sidecar.spread(40).await.len(), 2, "the last truth goes on");
    tasks[1].replica.crash().await;
    fleet.swarm.want_task(&tasks[1].id, "shutdown");
    fleet.swarm.set_task_state(&tasks[1].id, "shutdown");
    let _third = fleet.run(later.remove(0));

    fleet.sidecar.engine.come_back();
    fleet.sidecar.until_ready(&["gateway.1@node-1", "gateway.3@node-2"]).await;
    fleet.sidecar.until_gone("gateway.2@node-2").await;
    fleet.sidecar.until_connected(true).await;
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_drain_outlasts_the_managers_absence() {
    let (fleet, tasks, _) = Fleet::with(&TWO, &[], |_| {}).await;
    fleet.swarm.want_task(&tasks[1].id, "shutdown");
    fleet.swarm.update_service(&fleet.service, &fleet.spec);
    fleet.sidecar.until_state("gateway.2@node-2", "draining").await;
    fleet.sidecar.engine.go_away().await;
    fleet.sidecar.until_connected(false).await;
    fleet.sidecar.engine.come_back();
    fleet.sidecar.until_connected(true).await;
    let states = fleet.sidecar.states().await;
    assert_eq!(states["gateway.2@node-2"], "draining");
    assert_eq!(states["gateway.1@node-1"], "ready");
}

#[tokio::test]
async fn the_next_manager_takes_over_and_the_first_again_once_that_is_lost() {
    let second = FakeEngine::start();
    let other = ManagerHost { host: second.host(), cert_path: None };
    let (fleet, tasks, mut later) =
        Fleet::with(&TWO, &["gateway.3@node-2"], |settings| settings.hosts.push(other)).await;
    fleet.swarm.add_manager(&second);
    let first = &fleet.sidecar.engine;
    let traffic = Traffic::start(fleet.sidecar.proxy(), 4);
    first.go_away().await;
    eventually(PATIENCE, "it is asked", async || second.open_streams() == 1).await;
    fleet.sidecar.until_connected(true).await;
    let _third = fleet.run(later.remove(0));
    fleet.swarm.update_service(&fleet.service, &fleet.spec);
    fleet.sidecar.until_state("gateway.3@node-2", "ready").await;

    // That the first one is back is no reason to leave the second.
    first.come_back();
    let asked = first.requests(Endpoint::Version);
    fleet.end(&tasks[1]).await;
    fleet.sidecar.until_ready(&["gateway.1@node-1", "gateway.3@node-2"]).await;
    assert_eq!((first.requests(Endpoint::Version), first.open_streams(), second.open_streams()), (asked, 0, 1));

    second.stall();
    eventually(PATIENCE, "it is asked again", async || first.open_streams() == 1).await;
    fleet.sidecar.until_connected(true).await;
    fleet.swarm.set_node_state(&fleet.nodes[1], "down");
    fleet.until_polled().await;

    // Nobody is there, and then the first one.
    first.go_away().await;
    fleet.sidecar.until_connected(false).await;
    assert_eq!(fleet.sidecar.spread(20).await.len(), 2, "the last truth goes on");
    first.come_back();
    eventually(PATIENCE, "it is found", async || first.open_streams() == 1).await;
    fleet.sidecar.until_connected(true).await;
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn answers_that_are_none_lose_nothing() {
    let (fleet, tasks, _) = Fleet::with(&TWO, &[], |settings| settings.idle_poll = Duration::from_millis(200)).await;
    let traffic = Traffic::start(fleet.sidecar.proxy(), 2);
    let engine = &fleet.sidecar.engine;
    for (endpoint, text) in [
        (Endpoint::Tasks, "[{\"ID\":7}]"),
        (Endpoint::Tasks, "<html>"),
        (Endpoint::Services, "{"),
        (Endpoint::Nodes, "[[]]"),
    ] {
        engine.garble(endpoint, Some(text));
        fleet.swarm.update_service(&fleet.service, &fleet.spec);
        fleet.swarm.set_node_state(&fleet.nodes[0], "ready");
        fleet.sidecar.until_connected(false).await;
        assert_eq!(fleet.sidecar.spread(20).await.len(), 2);
        engine.garble(endpoint, None);
        fleet.sidecar.until_connected(true).await;
    }
    assert!(fleet.sidecar.metric("evenkeel_discovery_decode_errors_total", &[]).await >= 4.0);
    fleet.swarm.update_service(&fleet.service, &fleet.spec);
    fleet.end(&tasks[1]).await;
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_service_that_is_removed_takes_its_tasks_along() {
    let (fleet, tasks, _) = Fleet::with(&TWO, &[], |_| {}).await;
    fleet.swarm.remove_service(&fleet.service);
    for name in TWO {
        fleet.sidecar.until_state(name, "draining").await;
    }
    for task in &tasks {
        fleet.swarm.want_task(&task.id, "remove");
        fleet.swarm.forget_task(&task.id);
    }
    for name in TWO {
        fleet.sidecar.until_gone(name).await;
    }
    fleet.sidecar.until_connected(true).await;
}

#[tokio::test]
async fn events_that_never_come_are_made_up_for() {
    let (fleet, tasks, _) = Fleet::with(&TWO, &[], |settings| {
        settings.idle_poll = Duration::from_millis(300);
        settings.resync_interval = Duration::from_millis(500);
    })
    .await;
    let streams = fleet.sidecar.engine.requests(Endpoint::Events);
    fleet.sidecar.engine.drop_events(true);
    fleet.end(&tasks[1]).await;
    assert_eq!(fleet.sidecar.engine.requests(Endpoint::Events), streams, "quiet is not deaf");
    fleet.swarm.update_service(&fleet.service, &fleet.spec);
    eventually(PATIENCE, "the stream is opened again", async || {
        fleet.sidecar.engine.requests(Endpoint::Events) > streams
    })
    .await;
    fleet.sidecar.until_ready(&["gateway.1@node-1"]).await;
}
