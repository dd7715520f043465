//! An engine behind SSH, with a server and keys of the scenario's own.

use std::fs;
use std::process::Command;

use integration_tests::command::run;
use integration_tests::lab::{Lab, Plan};
use integration_tests::process::Process;

use super::{told, until_used};
use crate::harness::{Evenkeel, Load, program, run_gateway};

const NAMES: [&str; 3] = ["gateway-1@node-1", "gateway-1@node-2", "gateway-2@node-2"];

#[test]
fn an_engine_behind_ssh_is_followed_and_found_again() {
    let plan = Plan { nodes: 2, images: &["evenkeel-replica:local"], ..Plan::default() };
    Lab::with(&plan, async |lab| {
        run_gateway(&lab.node(1).engine, 1, &[]);
        run_gateway(&lab.node(2).engine, 1, &["--publish=3001"]);
        let _server = let_in(lab);
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

/// Lets whoever is root on the first node log in on the second, which has a server then. Both get an empty home.
fn let_in(lab: &Lab) -> Process {
    let keys = lab.directory().join("ssh");
    fs::create_dir(&keys).unwrap();
    let file = |name: &str| keys.join(name).display().to_string();
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &file("id_ed25519")]));
    run(Command::new("dropbearkey").args(["-t", "ed25519", "-f", &file("host")]));
    let public = run(Command::new("dropbearkey").args(["-y", "-f", &file("host")]));
    let public = public.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
    let (server, addr) = (lab.node(2).engine.namespaces(), lab.node(2).addr());
    fs::write(keys.join("known_hosts"), format!("{addr} {public}\n")).unwrap();
    fs::copy(keys.join("id_ed25519.pub"), keys.join("authorized_keys")).unwrap();
    for node in lab.nodes() {
        let home = format!(
            "mount -t tmpfs -o mode=700 tmpfs /root && mkdir -m 700 /root/.ssh && cd {} && \
             cp id_ed25519 known_hosts authorized_keys /root/.ssh/",
            keys.display()
        );
        run(node.engine.namespaces().command("sh").args(["-c", &home]));
    }
    let mut command = server.command("dropbear");
    command.args(["-F", "-E", "-s", "-r", &file("host"), "-p", &format!("{addr}:22"), "-P", &file("pid")]);
    Process::start("dropbear", command, lab.directory()).unwrap()
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
