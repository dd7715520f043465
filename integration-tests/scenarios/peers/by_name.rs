//! Hosts that find one another by a name in the DNS which has the addresses of all, and that prefer their own replicas.

use std::fs;
use std::net::SocketAddr;

use integration_tests::DnsServer;
use integration_tests::command::run;
use integration_tests::lab::{Lab, Plan};

use super::fleet::{Fleet, peer};
use super::{REPLICAS, all_have_their_shares, stop_clean, until_used};

const NAME: &str = "gateways.lab";
/// In the lab's hub, where the test is.
const SERVER: ([u8; 4], u16) = ([10, 99, 0, 1], 53);

#[test]
fn a_name_stands_for_all_hosts_and_is_followed_and_own_replicas_can_be_preferred() {
    let plan = Plan { images: &["evenkeel-replica:local"], ..Plan::default() };
    Lab::with(&plan, async |lab| {
        let dns = DnsServer::start_at(SocketAddr::from(SERVER)).await.unwrap();
        have_ask(lab);
        list(&dns, lab, &[1, 2, 3]);
        let mut fleet = Fleet::begin(lab, REPLICAS, &[]);
        fleet.start_all(&format!("{NAME}:9900"), &[]).await;
        for host in 1..=3 {
            all_have_their_shares(&fleet, host, 1).await;
        }
        a_host_leaves_the_name_and_comes_back(&fleet, &dns).await;

        fleet.start_all(&format!("{NAME}:9900"), &["--prefer-local=3".to_owned()]).await;
        for host in 1..=3 {
            all_have_their_shares(&fleet, host, 3).await;
        }
    });
}

/// Has every host ask the test's DNS server, and no other.
fn have_ask(lab: &Lab) {
    let file = lab.directory().join("resolv.conf");
    fs::write(&file, "nameserver 10.99.0.1\noptions timeout:1 attempts:1\n").unwrap();
    for node in lab.nodes() {
        run(node.engine.namespaces().command("mount").arg("--bind").arg(&file).arg("/etc/resolv.conf"));
    }
}

/// From here on the name has the addresses of these hosts.
fn list(dns: &DnsServer, lab: &Lab, hosts: &[usize]) {
    dns.set(NAME, hosts.iter().map(|host| std::net::IpAddr::from(lab.node(*host).addr())));
}

async fn a_host_leaves_the_name_and_comes_back(fleet: &Fleet<'_>, dns: &DnsServer) {
    let loads = [fleet.load(1), fleet.load(2)];
    until_used(&loads, "@node-3", true).await;
    list(dns, fleet.lab, &[1, 2]);
    for host in [1, 2] {
        fleet.of(host).admin.until_state(&peer(fleet.lab.node(3)), "gone").await;
    }
    until_used(&loads, "@node-3", false).await;
    list(dns, fleet.lab, &[1, 2, 3]);
    fleet.until_agreed().await;
    until_used(&loads, "@node-3", true).await;
    stop_clean("out of the name and back", loads).await;
}
