//! A Swarm of three nodes under load: what is planned costs nothing, what breaks costs no request; managers come and go.
//! `just swarm` measures what it costs in time, beside other balancers.

mod by_name;
mod managers;

use std::time::Duration;

use integration_tests::lab::{Lab, Plan};
use integration_tests::{eventually, eventually_some};
use tokio::time::Instant;

use crate::harness::swarm::{GATEWAY, Managers, Swarm};
use crate::harness::{Load, PATIENCE, Relay};

const REPLICAS: usize = 6;
/// The manager tells of the end of a task so long before its SIGTERM, less what a slow machine takes of it.
const BEFORE_SIGTERM: u64 = 1_000_000;
/// So long is the manager's socket away.
const AWAY: Duration = Duration::from_secs(60);

#[test]
fn what_operators_do_fails_nobody_and_drains_before_sigterm() {
    Lab::with(&Plan::default(), async |lab| {
        let sockets = lab.node(1).engine.socket_directory();
        let swarm = Swarm::begin(lab, 1, &Managers::Sockets(&[&sockets]), REPLICAS).await;
        let drains = swarm.watch_drains();
        let load = Load::start(swarm.proxy, "/slow?ms=5");

        swarm.scale(9);
        swarm.settled(9).await;
        swarm.scale(3);
        swarm.settled(3).await;
        swarm.scale(REPLICAS);
        swarm.settled(REPLICAS).await;
        for order in ["stop-first", "start-first"] {
            let order = format!("--update-order={order}");
            swarm.lab.update_service(GATEWAY, &["--update-parallelism=2", &order]).await;
            swarm.settled(REPLICAS).await;
        }
        swarm.docker(&["node", "update", "--availability=drain", swarm.lab.node(3).name()]);
        let tasks = swarm.settled(REPLICAS).await;
        assert!(tasks.iter().all(|task| task.node != swarm.lab.node_id(3)), "{tasks:#?}");

        let tally = load.stop().await;
        tally.assert_clean();
        assert_named_after_tasks(&tally.replicas());
        assert_drained_before_sigterm(&swarm, &drains.seen());
    });
}

/// `gateway.3@node-2`: the slot and the node.
fn assert_named_after_tasks(names: &[&str]) {
    let is_named = |name: &str| {
        let (task, node) = name.split_once('@')?;
        let slot: u64 = task.strip_prefix("gateway.")?.parse().ok()?;
        Some(slot >= 1 && ["node-1", "node-2", "node-3"].contains(&node))
    };
    assert!(names.iter().all(|name| is_named(name) == Some(true)), "{names:?}");
}

fn assert_drained_before_sigterm(swarm: &Swarm<'_>, drains: &std::collections::HashMap<String, u64>) {
    let lives = swarm.lives();
    let stopped: Vec<_> = lives.iter().filter_map(|(name, life)| Some((name, life.told_to_stop?))).collect();
    // Six of nine, twice six, and at least one that was on the node.
    assert!(stopped.len() > 6 + 12, "{stopped:?}");
    let before: Vec<_> = stopped
        .iter()
        .map(|(name, term)| {
            let drained = drains.get(*name).unwrap_or_else(|| panic!("{name} stopped and was not seen to drain"));
            term.saturating_sub(*drained)
        })
        .collect();
    let (least, most) = (before.iter().min().unwrap(), before.iter().max().unwrap());
    eprintln!("{} tasks drained {least} to {most} µs before their SIGTERM", stopped.len());
    assert!(*least > BEFORE_SIGTERM, "{before:?}");
}

#[test]
fn what_breaks_costs_no_request() {
    Lab::with(&Plan::default(), async |lab| {
        let sockets = lab.node(1).engine.socket_directory();
        let swarm = Swarm::begin(lab, 1, &Managers::Sockets(&[&sockets]), REPLICAS).await;
        let load = Load::start(swarm.proxy, "/slow?ms=5");

        let engine = &swarm.lab.node(2).engine;
        let filter = format!("label=com.docker.swarm.service.name={GATEWAY}");
        let containers = engine.docker(&["ps", "--quiet", "--filter", &filter]);
        let containers: Vec<_> = containers.lines().collect();
        assert!(!containers.is_empty());
        engine.docker(&[&["kill"], containers.as_slice()].concat());
        eventually(PATIENCE, "they are missed", async || swarm.admin.replicas().await.len() < REPLICAS).await;
        swarm.settled(REPLICAS).await;

        let struck = swarm.lab.node_id(3);
        swarm.lab.node(3).cut();
        eventually_some(PATIENCE, "all tasks run elsewhere", async || {
            let tasks = swarm.lab.tasks(GATEWAY).await;
            let elsewhere = tasks.iter().filter(|task| task.runs() && task.node != struck).count();
            (elsewhere == REPLICAS).then_some(())
        })
        .await;
        swarm.lab.node(3).heal();
        swarm.lab.until_node_is(3, "ready").await;
        swarm.settled(REPLICAS).await;

        let tally = load.stop().await;
        eprintln!("the slowest of {} answers took {:.2?}", tally.total(), tally.slowest);
        tally.assert_clean();
        assert!(tally.slowest < Duration::from_secs(2), "{:?}", tally.slowest);
    });
}

#[test]
fn without_the_managers_socket_the_last_truth_serves_and_changes_are_seen_after() {
    Lab::with(&Plan::default(), async |lab| {
        let mut relay = Relay::to(&lab.node(1).engine.socket());
        let swarm = Swarm::begin(lab, 1, &Managers::Sockets(&[relay.directory()]), REPLICAS).await;
        let load = Load::start(swarm.proxy, "/slow?ms=5");

        relay.cut();
        let since = Instant::now();
        let connected = async |value: f64| swarm.admin.metric("evenkeel_discovery_connected").await == Some(value);
        eventually(PATIENCE, "the loss is noticed", async || connected(0.0).await).await;
        assert_eq!(swarm.admin.until_ready(REPLICAS).await.len(), REPLICAS, "the last truth stays");
        // What comes is not seen, what goes is missed by the requests themselves.
        swarm.scale(REPLICAS - 2);
        swarm.lab.until_settled(GATEWAY, REPLICAS - 2).await;
        swarm.scale(REPLICAS + 2);
        swarm.lab.until_settled(GATEWAY, REPLICAS + 2).await;
        eventually(PATIENCE * 2, "it has been away for long", async || since.elapsed() > AWAY).await;
        relay.heal();
        eventually(PATIENCE, "it is connected again", async || connected(1.0).await).await;
        swarm.settled(REPLICAS + 2).await;
        load.stop().await.assert_clean();
    });
}
