//! `--scale gateway=8` under load: nothing is lost, every new replica answers within 1 s of its readiness, and from then
//! on each takes its share.

use std::time::Duration;

use integration_tests::eventually;

use crate::harness::docker::Events;
use crate::harness::{Load, PATIENCE, Project, Tally, Tool};

/// From a container's first passed HEALTHCHECK to its first answer.
const READY_TO_ANSWER: Duration = Duration::from_secs(1);

const REQUESTS: u64 = 8_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v2_round_robin() {
    scale_up(Tool::V2, "round-robin").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v2_p2c() {
    scale_up(Tool::V2, "p2c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v1_p2c() {
    scale_up(Tool::V1, "p2c").await;
}

async fn scale_up(tool: Tool, policy: &str) {
    let project = Project::new("scale_up", tool).with("EVENKEEL_POLICY", policy);
    let admin = project.up(2).await;
    let events = project.events("health_status");
    let load = Load::start(project.proxy(), "/slow?ms=5");

    project.scale(8);
    admin.until_ready(8).await;
    eventually(PATIENCE, "all eight have answered", async || load.tally().first_seen.len() == 8).await;
    let tally = load.stop().await;
    tally.assert_clean();
    assert_answered_soon_after_ready(&tally, &events);

    let tally = Load::exactly(REQUESTS, project.proxy(), "/").await;
    tally.assert_clean();
    assert_eq!(tally.total(), REQUESTS);
    let fair = REQUESTS / 8 - REQUESTS / 80..=REQUESTS / 8 + REQUESTS / 80;
    eprintln!("shares under {policy}: {:?}", tally.answers);
    assert!(
        tally.answers.len() == 8 && tally.answers.values().all(|share| fair.contains(share)),
        "{:?}",
        tally.answers
    );
}

fn assert_answered_soon_after_ready(tally: &Tally, events: &Events) {
    for replica in ["gateway-3", "gateway-4", "gateway-5", "gateway-6", "gateway-7", "gateway-8"] {
        let ready = events.first("health_status: healthy", replica).expect("it is ready, so its event was seen").at;
        let delay = tally.first_seen[replica].duration_since(ready).expect("no request before it is ready");
        eprintln!("{replica} answered {delay:?} after it was ready");
        assert!(delay < READY_TO_ANSWER, "{replica} took {delay:?}");
    }
}
