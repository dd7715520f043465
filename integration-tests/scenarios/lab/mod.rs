//! The lab itself: its hosts reach one another, can be cut off, killed and brought back, and nothing of it stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::eventually;
use integration_tests::lab::{Lab, Node, PATIENCE, Plan, Tcp};

const NETWORK: &str = "gateways";

/// Whether a container that stays on the node gets an answer from each of these URLs. Hosts whose dockerd is dead know
/// only the containers that were there before.
fn reaches(node: &Node, urls: &[String]) -> bool {
    let host = node.engine.host();
    let mut command = Command::new("timeout");
    command.args(["3", "docker", "--host", &host, "exec", "client", "/replica", "get"]);
    command.args(urls).output().unwrap().status.success()
}

/// Those of the tasks of each node, in order.
async fn urls(lab: &Lab) -> Vec<String> {
    let tasks = lab.until_settled("gateway", lab.nodes().len()).await;
    let of = |node: usize| {
        let task = tasks.iter().find(|task| task.node == lab.node_id(node)).unwrap();
        format!("http://{}:3001/", task.addr.unwrap())
    };
    (1..=lab.nodes().len()).map(of).collect()
}

#[test]
fn a_swarm_spans_its_hosts_and_hosts_come_and_go() {
    let mut left = (PathBuf::new(), Vec::new());
    Lab::with(&Plan::default(), async |lab| {
        let firsts = lab.nodes().iter().map(|node| node.engine.namespaces().first()).collect();
        left = (lab.directory().to_owned(), firsts);
        lab.make_swarm(1, NETWORK);
        lab.create_service(
            "gateway",
            &["--network", NETWORK, "--mode=global", "--no-healthcheck", "evenkeel-replica:local"],
        );
        let urls = urls(lab).await;
        for node in lab.nodes() {
            let network = format!("--network={NETWORK}");
            let client = ["run", "--detach", "--no-healthcheck", &network, "--name=client", "evenkeel-replica:local"];
            node.engine.docker(&client);
            let what = format!("{} reaches the tasks of all", node.name());
            eventually(PATIENCE, &what, async || reaches(node, &urls)).await;
        }

        lab.node(3).cut();
        assert!(!reaches(lab.node(1), &urls[2..]), "its link is cut");
        assert!(reaches(lab.node(1), &urls[..2]), "the others' are not");
        lab.node(3).heal();
        lab.until_node_is(3, "ready").await;
        // It may have been away for long enough to have got another task.
        let urls = self::urls(lab).await;
        eventually(PATIENCE, "node 3 is reached again", async || reaches(lab.node(1), &urls[2..])).await;

        lab.node_mut(2).engine.kill();
        assert!(reaches(lab.node(1), &urls[1..2]), "containers go on without their dockerd");
        lab.node_mut(2).engine.start();
        lab.node_mut(2).engine.until_up().await;

        lab.node_mut(3).crash();
        lab.until_node_is(3, "down").await;
        lab.until_node_is(2, "ready").await;
    });
    let (directory, firsts) = left;
    assert!(firsts.len() == 3 && firsts.iter().all(|first| !Path::new("/proc").join(first.to_string()).exists()));
    assert!(!directory.exists(), "{directory:?} stays");
    let name = directory.file_name().unwrap();
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path().join(name));
    assert_eq!(hierarchies.filter(|cgroup| cgroup.exists()).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn engines_listen_on_tcp_and_with_tls_only_for_who_has_a_certificate() {
    let says = |node: &Node, args: &[String]| {
        let output = Command::new("docker").args(["--host", &node.tcp_host()]).args(args).arg("info").output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(&format!("Name: {}\n", node.name()))
    };
    let plan = Plan { nodes: 2, tcp: Tcp::Tls, images: &[] };
    Lab::with(&plan, async |lab| {
        let file = |option: &str, name: &str| format!("--{option}={}", lab.certificates().join(name).display());
        let known = [file("tlscacert", "ca.pem"), file("tlscert", "cert.pem"), file("tlskey", "key.pem")];
        for node in lab.nodes() {
            assert!(says(node, &[&["--tlsverify".to_owned()], known.as_slice()].concat()), "with a certificate");
            assert!(!says(node, &["--tlsverify".to_owned(), known[0].clone()]), "without one");
            assert!(!says(node, &[]), "without TLS");
        }
    });
    Lab::with(&Plan { nodes: 1, tcp: Tcp::Plain, images: &[] }, async |lab| assert!(says(lab.node(1), &[])));
}
