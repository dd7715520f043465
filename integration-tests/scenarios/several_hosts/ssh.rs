//! An engine behind SSH, with a server and keys of the scenario's own.

use integration_tests::lab::{Lab, Plan};

use super::{told, until_used};
use crate::harness::{Evenkeel, Load, let_in, program, run_gateway};

const NAMES: [&str; 3] = ["gateway-1@node-1", "gateway-1@node-2", "gateway-2@node-2"];

#[test]
fn an_engine_behind_ssh_is_followed_and_found_again() {
    let plan = Plan { nodes: 2, images: &["evenkeel-replica:local"], ..Plan::default() };
    Lab::with(&plan, async |lab| {
        run_gateway(&lab.node(1).engine, 1, &[]);
        run_gateway(&lab.node(2).engine, 1, &["--publish=3001"]);
        let _server = let_in(lab, &[2]);
        let evenkeel = start(lab).await;
        evenkeel.admin.until_connected(2).await;
        evenkeel.admin.until_ready(2).await;

        let load = Load::start(evenkeel.proxy, "/slow?ms=5");
        run_gateway(&lab.node(2).engine, 2, &["--publish=3001"]);
        until_used(&load, &NAMES).await;
        lab.node(2).cut();
        evenkeel.admin.until_connected(1).await;
        until_used(&load, &NAMES[..1]).await;
        lab.node(2).heal();
        evenkeel.admin.until_connected(2).await;
        evenkeel.admin.until_ready(NAMES.len()).await;
        until_used(&load, &NAMES).await;
        told("a host behind SSH is lost", &load.stop().await);
    });
}

/// One on the first node, in all its namespaces: `ssh` reads root's home.
async fn start(lab: &Lab) -> Evenkeel {
    let (node, other) = (lab.node(1), lab.node(2));
    let command = node.engine.namespaces().command(program(lab.directory()));
    let options = [
        "--service=gateway".to_owned(),
        format!("--docker-host={}={}", node.name(), node.engine.host()),
        format!("--docker-host={}=ssh://root@{}", other.name(), other.addr()),
    ];
    Evenkeel::start("evenkeel", command, node.addr(), &options, lab.directory()).await
}
