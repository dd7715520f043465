//! One evenkeel that follows the engines of two other hosts, by TLS with a client's certificate: it dials what their
//! containers publish, and a daemon or a host that is lost costs nobody a request.

mod ssh;

use std::net::Ipv4Addr;
use std::time::Duration;

use integration_tests::command::run;
use integration_tests::eventually;
use integration_tests::lab::{Lab, Plan, Tcp};
use tokio::time::Instant;

use crate::harness::{Admin, Evenkeel, Load, PATIENCE, Tally, program, run_gateway};

const NAMES: [&str; 4] = ["gateway-1@node-1", "gateway-1@node-2", "gateway-2@node-1", "gateway-2@node-2"];
/// So long may a request take while a host is lost; the probes find that out after 3 s at the latest.
const LOST: Duration = Duration::from_millis(2_500);
/// Where the lab's hub is, which has no engine.
const HUB: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

#[test]
fn requests_reach_what_both_hosts_publish_and_a_lost_daemon_or_host_costs_none() {
    let plan = Plan { nodes: 2, tcp: Tcp::Tls, images: &["evenkeel-replica:local"] };
    Lab::with(&plan, async |lab| {
        for node in lab.nodes() {
            for number in [1, 2] {
                // Some port of the host, and another one after a restart.
                run_gateway(&node.engine, number, &["--restart=always", "--publish=3001"]);
            }
        }
        let hidden = run_gateway(&lab.node(1).engine, 3, &[]);
        let evenkeel = start(lab).await;
        let admin = evenkeel.admin;
        assert_reaches_all(lab, &evenkeel).await;
        assert_eq!(admin.verdict(&hidden).await.as_deref(), Some("not-published"));

        let load = Load::start(evenkeel.proxy, "/slow?ms=5");
        a_daemon_is_lost(lab, admin, &load).await;
        told("a daemon is lost", &load.stop().await);
        let load = Load::start(evenkeel.proxy, "/slow?ms=5");
        a_host_is_lost(lab, admin, &load).await;
        told("a host is lost", &load.stop().await);
        assert_eq!(admin.verdict(&hidden).await.as_deref(), Some("not-published"));
    });
}

/// One on a machine of its own.
async fn start(lab: &Lab) -> Evenkeel {
    let mut options = vec!["--service=gateway".to_owned()];
    options.extend(lab.nodes().iter().map(|node| format!("--docker-host={}={}", node.name(), node.tcp_host())));
    options.push(format!("--docker-cert-path={}", lab.certificates().display()));
    let command = lab.command(program(lab.directory()));
    Evenkeel::start("evenkeel", command, HUB, &options, lab.directory()).await
}

async fn assert_reaches_all(lab: &Lab, evenkeel: &Evenkeel) {
    let mut replicas = evenkeel.admin.until_ready(NAMES.len()).await;
    replicas.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(replicas.iter().map(|replica| replica.name.as_str()).eq(NAMES), "{replicas:#?}");
    for replica in &replicas {
        let (container, host) = replica.name.split_once('@').unwrap();
        let node = lab.nodes().iter().find(|node| node.name() == host).unwrap();
        let published = node.engine.docker(&["port", container, "3001/tcp"]);
        let port = published.lines().next().and_then(|line| line.rsplit_once(':')?.1.parse().ok()).unwrap();
        assert_eq!(replica.addr, (node.addr(), port).into(), "{published}");
    }
    let tally = Load::exactly(1_000, evenkeel.proxy, "/").await;
    tally.assert_clean();
    assert_eq!(tally.replicas(), NAMES);
}

/// dockerd gets SIGKILL, then a replica that it would have told of, and both come back.
async fn a_daemon_is_lost(lab: &mut Lab, admin: Admin, load: &Load) {
    let engine = &lab.node(2).engine;
    let pid = engine.docker(&["inspect", "--format={{.State.Pid}}", "gateway-2"]);
    lab.node_mut(2).engine.kill();
    admin.until_connected(1).await;
    assert_eq!(admin.until_ready(NAMES.len()).await.len(), NAMES.len(), "the last truth stays");
    until_used(load, &NAMES).await;

    run(lab.node(2).engine.namespaces().command("kill").args(["-KILL", &pid]));
    eventually(PATIENCE, "its death is found out", async || admin.state(NAMES[3]).await != "ready").await;
    until_used(load, &NAMES[..3]).await;
    assert_eq!(admin.replicas().await.len(), NAMES.len(), "a probe decides nothing but health");

    lab.node_mut(2).engine.start();
    lab.node_mut(2).engine.until_up().await;
    admin.until_connected(2).await;
    admin.until_ready(NAMES.len()).await;
    until_used(load, &NAMES).await;
}

/// A host's link is cut, and put back.
async fn a_host_is_lost(lab: &Lab, admin: Admin, load: &Load) {
    until_used(load, &NAMES).await;
    lab.node(2).cut();
    let since = Instant::now();
    for name in [NAMES[1], NAMES[3]] {
        eventually(PATIENCE, &format!("{name} is lost"), async || admin.state(name).await != "ready").await;
    }
    let found = since.elapsed();
    admin.until_connected(1).await;
    eprintln!("a host that is cut off: replicas out after {found:.1?}, its engine after {:.1?}", since.elapsed());
    until_used(load, &[NAMES[0], NAMES[2]]).await;
    lab.node(2).heal();
    admin.until_connected(2).await;
    admin.until_ready(NAMES.len()).await;
    until_used(load, &NAMES).await;
}

/// Waits until each of these has answered ten requests more.
async fn until_used(load: &Load, names: &[&str]) {
    let before = load.tally().answers;
    eventually(PATIENCE, &format!("{names:?} are used"), async || {
        let now = load.tally().answers;
        let of = |answers: &std::collections::BTreeMap<String, u64>, name| answers.get(name).copied().unwrap_or(0);
        names.iter().all(|name| of(&now, *name) >= of(&before, *name) + 10)
    })
    .await;
}

fn told(what: &str, tally: &Tally) {
    eprintln!("{what}: {} answers, {} failures, worst {:.1?}", tally.total(), tally.failures.len(), tally.slowest);
    tally.assert_clean();
    assert!(tally.slowest < LOST, "{:?}", tally.slowest);
}
