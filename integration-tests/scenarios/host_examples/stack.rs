//! The example for a Swarm: the stack as it is written, on two managers and a worker.

use std::collections::HashMap;
use std::process::Command;
use std::thread;

use integration_tests::command::run;
use integration_tests::eventually;
use integration_tests::lab::swarm::Task;
use integration_tests::lab::{Engine, Lab, Plan};

use super::{example, until_even};
use crate::harness::swarm::tell_log;
use crate::harness::{Load, PATIENCE};

/// What its services are called once it is deployed.
const EVENKEEL: &str = "shop_evenkeel";
const GATEWAY: &str = "shop_gateway";
const MANAGERS: usize = 2;

#[test]
fn the_stack_does_what_it_says() {
    Lab::with(&Plan::default(), async |lab| {
        lab.join_all(MANAGERS);
        let _teller = Teller(lab);
        deploy(&lab.node(1).engine);
        lab.until_settled(EVENKEEL, MANAGERS).await;
        let names = names(lab, &settled(lab, 6).await);
        for manager in 1..=MANAGERS {
            until_even(lab.node(manager), &names).await;
        }

        let loads = [1, 2].map(|manager| Load::start((lab.node(manager).addr(), 8080).into(), "/slow?ms=50"));
        let docker = |args: &[&str]| drop(lab.node(1).engine.docker(args));
        docker(&["service", "scale", "shop_gateway=12"]);
        settled(lab, 12).await;
        docker(&["service", "update", "--force", "shop_gateway"]);
        settled(lab, 12).await;
        docker(&["node", "update", "--availability", "drain", lab.node(3).name()]);
        let left = lab.node_id(3);
        eventually(PATIENCE, "its tasks are to end", async || {
            lab.tasks(GATEWAY).await.iter().all(|task| task.node != left || task.desired != "running")
        })
        .await;
        let tasks = settled(lab, 12).await;
        assert!(tasks.iter().all(|task| task.node != left), "{tasks:#?}");
        for (manager, load) in (1..).zip(loads) {
            let tally = load.stop().await;
            let (total, failed, slowest) = (tally.total(), tally.failures.len(), tally.slowest);
            eprintln!("manager {manager}: {failed} of {total} failed; the slowest took {slowest:.1?}");
            tally.assert_clean();
        }
    });
}

/// As the README has it. What is mounted is the directory of the engine's own, and is found on its node alone.
fn deploy(engine: &Engine) {
    let mut command = Command::new("docker");
    command.args(["--host", &engine.host(), "stack", "deploy", "-c", "stack.yml", "shop"]);
    command.current_dir(example("swarm")).env("DOCKER_GID", engine.socket_group().to_string());
    run(&mut command);
}

/// Waits until so many tasks run and these are who answers at each manager.
async fn settled(lab: &Lab, count: usize) -> Vec<Task> {
    let tasks = lab.until_settled(GATEWAY, count).await;
    let names = names(lab, &tasks);
    for manager in 1..=MANAGERS {
        eventually(PATIENCE, &format!("{names:?} answer at manager {manager}"), async || {
            let tally = Load::exactly(50 * names.len() as u64, (lab.node(manager).addr(), 8080).into(), "/").await;
            tally.assert_clean();
            tally.replicas() == names
        })
        .await;
    }
    tasks
}

/// What tasks are called, as `gateway.3@node-2`, in order.
fn names(lab: &Lab, tasks: &[Task]) -> Vec<String> {
    let nodes: HashMap<_, _> =
        (1..).zip(lab.nodes()).map(|(number, node)| (lab.node_id(number), node.name())).collect();
    let mut names: Vec<_> = tasks.iter().map(|task| format!("gateway.{}@{}", task.slot, nodes[&task.node])).collect();
    names.sort();
    names
}

/// Tells what evenkeel said if the scenario fails.
struct Teller<'a>(&'a Lab);

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            (1..=MANAGERS).for_each(|manager| tell_log(&self.0.node(manager).engine, EVENKEEL));
        }
    }
}
