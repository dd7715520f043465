//! Managers that are not asked by a socket: the first of them is lost, and the next one takes over.

use std::net::SocketAddr;

use integration_tests::eventually;
use integration_tests::lab::{Lab, Plan, Tcp};
use tokio::time::Instant;

use super::REPLICAS;
use crate::harness::swarm::{GATEWAY, Managers, NETWORK, Swarm, create_gateway, scale};
use crate::harness::{Admin, Evenkeel, Listening, Load, PATIENCE, let_in, program, work_logs};

#[test]
fn the_next_manager_takes_over_by_tls() {
    let plan = Plan { tcp: Tcp::Tls, ..Plan::default() };
    Lab::with(&plan, async |lab| {
        let swarm = Swarm::begin(lab, 3, &Managers::Tls(&[2, 1]), REPLICAS).await;
        assert_next_takes_over(swarm.lab, swarm.admin, swarm.proxy).await;
    });
}

/// By a process in a container's network, since there is no `ssh` in our image.
#[test]
fn the_next_manager_takes_over_by_ssh() {
    Lab::with(&Plan::default(), async |lab| {
        lab.make_swarm(3, NETWORK);
        let _servers = let_in(lab, &[2, 3]);
        create_gateway(lab, &work_logs(lab), REPLICAS);
        let evenkeel = start_within(lab).await;
        lab.until_settled(GATEWAY, REPLICAS).await;
        evenkeel.admin.until_ready(REPLICAS).await;
        assert_next_takes_over(lab, evenkeel.admin, evenkeel.proxy).await;
    });
}

/// One on the first node, in the network of a container of it, which asks the others' managers.
async fn start_within(lab: &Lab) -> Evenkeel {
    let (node, network) = (lab.node(1), format!("--network={NETWORK}"));
    let run = ["run", "--detach", "--publish=8080:8080", "--publish=9900:9900", &network, "evenkeel-replica:local"];
    let container = node.engine.docker(&run);
    let pid = node.engine.docker(&["inspect", "--format={{.State.Pid}}", &container]);
    let mut command = node.engine.namespaces().command("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).arg("--").arg(program(lab.directory()));
    let manager = |node: usize| format!("--docker-host=ssh://root@{}", lab.node(node).addr());
    let service = format!("--service={GATEWAY}");
    let options = ["--swarm", &service, "--port=3001", &network, &manager(2), &manager(3)].map(str::to_owned);
    Evenkeel::start("evenkeel", command, Listening::published(node.addr()), &options, lab.directory()).await
}

/// The second node's daemon is lost, whose manager was asked: tasks that come then are seen, and no request fails.
async fn assert_next_takes_over(lab: &mut Lab, admin: Admin, proxy: SocketAddr) {
    const LOST: &str = "evenkeel_discovery_reconnects_total";
    let load = Load::start(proxy, "/slow?ms=5");
    assert_eq!(admin.metric(LOST).await, Some(0.0), "the first manager is asked");
    lab.node_mut(2).engine.kill();
    let since = Instant::now();
    scale(lab, REPLICAS + 3);
    eventually(PATIENCE, "new tasks are seen by way of the next manager", async || {
        let replicas = admin.replicas().await;
        replicas.iter().filter(|replica| replica.state == "ready").count() > REPLICAS
    })
    .await;
    eprintln!("a new task was seen {:.2?} after the manager was lost", since.elapsed());
    assert_eq!(admin.metric(LOST).await, Some(1.0), "the next one is asked");
    // Those of the lost node drain until it is back.
    let lost = format!("@{}", lab.node(2).name());
    eventually(PATIENCE, "all tasks run elsewhere", async || {
        let replicas = admin.replicas().await;
        let elsewhere = replicas.iter().filter(|replica| !replica.name.ends_with(&lost));
        elsewhere.filter(|replica| replica.state == "ready").count() == REPLICAS + 3
    })
    .await;
    load.stop().await.assert_clean();
}
