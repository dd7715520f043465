//! The examples for several hosts as they are written, each host with its own engine and `docker compose`.

mod stack;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::command::run;
use integration_tests::eventually;
use integration_tests::lab::{Lab, Node, Plan, Tcp};

use crate::harness::{Load, PATIENCE};

/// What `docker compose` needs to know of a host.
struct Host<'a> {
    node: &'a Node,
    env: Vec<(&'static str, String)>,
}

impl Host<'_> {
    /// `docker compose -f FILE ARGS…`
    fn compose(&self, file: &Path, args: &[&str]) -> String {
        let mut command = Command::new("docker");
        command.args(["--host", &self.node.engine.host(), "compose", "--file"]).arg(file).args(args);
        run(command.envs(self.env.iter().map(|(name, value)| (name, value))))
    }
}

#[test]
fn the_examples_do_what_they_say() {
    let plan = Plan { tcp: Tcp::Tls, ..Plan::default() };
    Lab::with(&plan, async |lab| {
        peers(lab).await;
        several_hosts(lab).await;
    });
}

async fn peers(lab: &Lab) {
    let file = example("peers").join("compose.yml");
    let peers: Vec<_> = lab.nodes().iter().map(|node| format!("{}:9900", node.addr())).collect();
    let hosts: Vec<_> = lab.nodes().iter().map(|node| host(node, &peers.join(","))).collect();
    for (host, count) in hosts.iter().zip(["gateway=3", "gateway=2", "gateway=1"]) {
        host.compose(&file, &["up", "--detach", "--scale", count]);
    }
    let names = ["1@node-1", "1@node-2", "1@node-3", "2@node-1", "2@node-2", "3@node-1"];
    for host in &hosts {
        until_even(host.node, &names.map(|name| format!("gateway-{name}"))).await;
        let listed = host.compose(&file, &["exec", "-T", "evenkeel", "/evenkeel", "replicas"]);
        assert_eq!(listed.matches("\npeer:node-").count(), 2, "{listed}");
    }
    // Without a token they know one another by their addresses, though containers have others.
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|line| !line.contains("EVENKEEL_PEER_TOKEN"));
    let without = lab.directory().join("peers/compose.yml");
    fs::create_dir_all(without.parent().unwrap()).unwrap();
    fs::write(&without, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    for (host, count) in hosts.iter().zip(["gateway=3", "gateway=2", "gateway=1"]) {
        host.compose(&without, &["up", "--detach", "--scale", count]);
        let env = host.node.engine.docker(&["inspect", "--format={{.Config.Env}}", "peers-evenkeel-1"]);
        assert!(env.contains("EVENKEEL_PEER=") && !env.contains("TOKEN"), "{env}");
    }
    for host in &hosts {
        until_even(host.node, &names.map(|name| format!("gateway-{name}"))).await;
    }
    hosts.iter().for_each(|host| drop(host.compose(&file, &["down", "--timeout=1"])));
}

async fn several_hosts(lab: &Lab) {
    // The addresses are to be changed, the certificates to be put beside the file.
    let directory = lab.directory().join("several-hosts");
    fs::create_dir_all(directory.join("certs")).unwrap();
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        fs::copy(lab.certificates().join(name), directory.join("certs").join(name)).unwrap();
    }
    let mut text = fs::read_to_string(example("several-hosts").join("evenkeel.yml")).unwrap();
    for (written, node) in [("10.0.0.6", 2), ("10.0.0.7", 3)] {
        assert!(text.contains(written));
        text = text.replace(written, &lab.node(node).addr().to_string());
    }
    let file = directory.join("evenkeel.yml");
    fs::write(&file, text).unwrap();

    let hosts: Vec<_> = lab.nodes().iter().map(|node| host(node, "")).collect();
    for host in &hosts {
        host.node.engine.docker(&["tag", "evenkeel-replica:local", "your/gateway"]);
        host.compose(&example("several-hosts").join("gateways.yml"), &["up", "--detach", "--scale", "gateway=3"]);
    }
    hosts[0].compose(&file, &["up", "--detach"]);
    let names: Vec<_> = (1..=3).flat_map(|at| [1, 2, 3].map(|vm| format!("gateway-{at}@vm-{vm}"))).collect();
    until_even(lab.node(1), &names).await;
    let listed = hosts[0].compose(&file, &["exec", "-T", "evenkeel", "/evenkeel", "replicas"]);
    assert!(names.iter().all(|name| listed.contains(name.as_str())), "{listed}");
}

/// Waits until exactly these replicas, in order, answer at port 8080 of a host, and as often as one another.
async fn until_even(node: &Node, names: &[String]) {
    let what = format!("all {} answer at {}", names.len(), node.name());
    eventually(PATIENCE, &what, async || {
        let tally = Load::exactly(100 * names.len() as u64, (node.addr(), 8080).into(), "/").await;
        let is_even = tally.answers.values().all(|share| share.abs_diff(100) <= 10);
        tally.failures.is_empty() && tally.replicas() == names && is_even
    })
    .await;
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/examples").join(name)
}

/// A host with the variables of its example.
fn host<'a>(node: &'a Node, peers: &str) -> Host<'a> {
    let env = vec![
        ("DOCKER_GID", node.engine.socket_group().to_string()),
        ("HOST_NAME", node.name().to_owned()),
        ("PEERS", peers.to_owned()),
        ("PEER_TOKEN", "sesame-open-wide-for-all-of-us".to_owned()),
    ];
    Host { node, env }
}
