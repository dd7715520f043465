//! evenkeels without a manager's socket, on workers: what the Swarm's DNS alone tells them, and what that costs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::thread;

use integration_tests::eventually;
use integration_tests::lab::{Lab, Plan};
use integration_tests::load::witness::{Life, Start, lives};

use super::REPLICAS;
use crate::harness::swarm::{GATEWAY, NETWORK, create_evenkeel, create_gateway, scale, tell_log};
use crate::harness::{Admin, Done, PATIENCE, Work, work_logs};

const ARGUMENTS: [&str; 3] = ["--no-docker", "--dns=gateway=tasks.gateway:3001", "--health-path=/ready"];
/// One on each worker: its service, and the longest that it takes an answer to hold.
const EVENKEELS: [(&str, &str); 2] = [("by-name", "5s"), ("by-name-often", "1s")];

#[test]
fn without_a_socket_the_name_of_the_tasks_is_followed_and_no_idempotent_request_fails() {
    Lab::with(&Plan::default(), async |lab| {
        lab.make_swarm(1, NETWORK);
        let _teller = Teller(lab);
        let logs = work_logs(lab);
        create_gateway(lab, &logs, REPLICAS);
        for (node, (name, most)) in (2..).zip(EVENKEELS) {
            let most = format!("--dns-max-ttl={most}");
            create_evenkeel(lab, name, node, &[], &[ARGUMENTS.as_slice(), &[most.as_str()]].concat());
        }
        settled(lab, REPLICAS).await;

        let start = |node: usize| Work::start(lab, (lab.node(node).addr(), 8080).into(), node as u64, &logs);
        let loads = [start(2), start(3)];
        for replicas in [9, 3, REPLICAS] {
            scale(lab, replicas);
            settled(lab, replicas).await;
        }
        lab.update_service(GATEWAY, &["--update-parallelism=2"]).await;
        settled(lab, REPLICAS).await;

        let [late, none_late] = loads.map(Work::stop);
        let (late, none_late) = tokio::join!(late, none_late);
        let lives = lives(&logs).unwrap();
        assert!(lives.values().filter(|life| life.told_to_stop.is_some()).count() >= 6 + REPLICAS);
        for ((name, most), done) in EVENKEELS.iter().zip([&late, &none_late]) {
            tell(&format!("{name}, {most}"), done, &lives);
            done.assert_kept();
        }
        // A name loses a task three seconds before the task is told to stop.
        assert_eq!(begun_late(&none_late, &lives), 0);
        assert!(none_late.failed(false).is_empty(), "{:#?}", none_late.failed(false));
        // What a POST may cost that was on its way to a task which closed its connections.
        for lost in late.failed(false) {
            assert!(lost.status == 502 && begun_late(&late, &lives) > 0, "{lost:#?}");
        }
    });
}

/// Waits until so many tasks run, and each evenkeel has just their addresses.
async fn settled(lab: &Lab, count: usize) {
    let tasks = lab.until_settled(GATEWAY, count).await;
    let mut due: Vec<IpAddr> = tasks.iter().map(|task| task.addr.unwrap().into()).collect();
    due.sort();
    for (node, (name, _)) in (2..).zip(EVENKEELS) {
        let admin = Admin::new((lab.node(node).addr(), 9900).into());
        eventually(PATIENCE, &format!("{name} has {due:?}"), async || {
            let replicas = admin.replicas().await;
            let mut found: Vec<_> = replicas.iter().map(|replica| replica.addr.ip()).collect();
            found.sort();
            found == due && replicas.iter().all(|replica| replica.state == "ready")
        })
        .await;
    }
}

/// Requests that began at a task after its SIGTERM.
fn begun_late(done: &Done, lives: &HashMap<String, Life>) -> usize {
    let starts = done.records.iter().flat_map(|record| done.witness.starts(record.number));
    let told = |start: &Start| lives.get(done.witness.replica(start)).and_then(|life| life.told_to_stop);
    starts.filter(|start| told(start).is_some_and(|told| start.start > told)).count()
}

fn tell(name: &str, done: &Done, lives: &HashMap<String, Life>) {
    for (what, is_idempotent) in [("GETs and PUTs", true), ("POSTs", false)] {
        let (failed, count) = (done.failed(is_idempotent).len(), done.count(is_idempotent));
        eprintln!("{name}: {failed} of {count} {what} failed; the slowest took {} ms", done.slowest(is_idempotent));
    }
    let mut lasts: HashMap<&str, u64> = HashMap::new();
    for start in done.records.iter().flat_map(|record| done.witness.starts(record.number)) {
        let last = lasts.entry(done.witness.replica(start)).or_default();
        *last = (*last).max(start.start);
    }
    let before = |(name, life): (&String, &Life)| {
        let (told, last) = (life.told_to_stop?, *lasts.get(name.as_str())?);
        Some((told.cast_signed() - last.cast_signed()) / 1_000)
    };
    let mut before: Vec<_> = lives.iter().filter_map(before).collect();
    before.sort_unstable();
    let late = begun_late(done, lives);
    eprintln!("{name}: {late} began after a SIGTERM; the last ones so many ms before it: {before:?}");
}

/// Tells what they said if the scenario fails.
struct Teller<'a>(&'a Lab);

impl Drop for Teller<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            for (node, (name, _)) in (2..).zip(EVENKEELS) {
                tell_log(&self.0.node(node).engine, name);
            }
        }
    }
}
