//! Ten rounds of up to eight and down to two, under load: not one request is lost.

use integration_tests::eventually;

use crate::harness::{Load, PATIENCE, Project, Tool};

const ROUNDS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v2() {
    ten_rounds(Tool::V2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compose_v1() {
    ten_rounds(Tool::V1).await;
}

async fn ten_rounds(tool: Tool) {
    let project = Project::new("scale_down", tool);
    let admin = project.up(2).await;
    let load = Load::start(project.proxy(), "/slow?ms=5");
    for round in 1..=ROUNDS {
        project.scale(8);
        let before = load.tally();
        admin.until_ready(8).await;
        let has_asked = |name: &String| load.tally().answers.get(name) > before.answers.get(name);
        let names: Vec<_> = admin.replicas().await.into_iter().map(|replica| replica.name).collect();
        eventually(PATIENCE, "all eight answer in this round", async || names.iter().all(has_asked)).await;
        project.scale(2);
        admin.until_ready(2).await;
        let tally = load.tally();
        eprintln!("round {round}: {} answers, {} failures", tally.total(), tally.failures.len());
    }
    load.stop().await.assert_clean();
}
