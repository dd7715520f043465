//! Three Docker hosts without a Swarm, and an evenkeel on each, for which the others are peers.

use std::path::PathBuf;

use integration_tests::eventually;
use integration_tests::lab::{Lab, Node};
use integration_tests::process::in_network;
use rustix::process::Signal;

use crate::harness::{Evenkeel, Load, PATIENCE, program, run_gateway};

/// How many hosts there are.
const HOSTS: usize = 3;

pub(super) struct Fleet<'a> {
    pub(super) lab: &'a Lab,
    program: PathBuf,
    /// Of every evenkeel.
    options: Vec<String>,
    /// How many replicas each host has.
    replicas: [usize; HOSTS],
    /// In the order of the hosts; one that was killed is none.
    evenkeels: Vec<Option<Evenkeel>>,
}

impl<'a> Fleet<'a> {
    /// So many replicas on each host, with such options of `docker run`, and no evenkeel yet. Each has the hostname
    /// `gateway-2-node-1`.
    pub(super) fn begin(lab: &'a Lab, replicas: [usize; HOSTS], options: &[&str]) -> Self {
        for (node, count) in lab.nodes().iter().zip(replicas) {
            for number in 1..=count {
                let hostname = format!("--hostname=gateway-{number}-{}", node.name());
                run_gateway(&node.engine, number, &[options, &[hostname.as_str()]].concat());
            }
        }
        let program = program(lab.directory());
        let mut fleet = Self { lab, program, options: Vec::new(), replicas, evenkeels: Vec::new() };
        fleet.evenkeels.resize_with(HOSTS, || None);
        fleet
    }

    /// Starts all evenkeels, anew if they run, and waits until each has what all have. They find one another by what
    /// `peers` says.
    pub(super) async fn start_all(&mut self, peers: &str, options: &[String]) {
        self.evenkeels.iter_mut().for_each(|evenkeel| drop(evenkeel.take()));
        self.options = [&[format!("--peer={peers}")][..], options].concat();
        for host in 1..=HOSTS {
            self.start(host).await;
        }
        self.until_agreed().await;
    }

    /// Starts the evenkeel of a host, which runs as if it were the host's, but for the name.
    pub(super) async fn start(&mut self, host: usize) {
        let (node, directory) = (self.lab.node(host), self.lab.directory());
        // With the host's files: they say which DNS server to ask. Not with its processes, to be signalled from here.
        let mut command = in_network(&node.engine.namespaces().network(), "nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", node.engine.namespaces().first())).arg("--").arg(&self.program);
        let mut options = vec![
            format!("--docker-host={}", node.engine.host()),
            "--service=gateway".to_owned(),
            format!("--peer-name={}", node.name()),
        ];
        options.extend_from_slice(&self.options);
        let name = format!("evenkeel-{host}");
        self.evenkeels[host - 1] = Some(Evenkeel::start(&name, command, node.addr(), &options, directory).await);
    }

    /// Ends the evenkeel of a host by a signal.
    pub(super) fn end(&mut self, host: usize, signal: Signal) {
        self.evenkeels[host - 1].take().expect("it runs").end(signal);
    }

    pub(super) fn of(&self, host: usize) -> &Evenkeel {
        self.evenkeels[host - 1].as_ref().expect("it runs")
    }

    /// Clients of a host.
    pub(super) fn load(&self, host: usize) -> Load {
        Load::start(self.of(host).proxy, "/slow?ms=5")
    }

    /// The names of all replicas, as every host calls them, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let of = |(node, count): (&Node, usize)| {
            let host = node.name().to_owned();
            (1..=count).map(move |number| format!("gateway-{number}@{host}"))
        };
        let mut names: Vec<_> = self.lab.nodes().iter().zip(self.replicas).flat_map(of).collect();
        names.sort();
        names
    }

    /// Waits until each evenkeel has its own replicas, and every other one with what that has.
    pub(super) async fn until_agreed(&self) {
        for host in 1..=HOSTS {
            eventually(PATIENCE, &format!("host {host} knows what all have"), async || self.agrees(host).await).await;
        }
    }

    async fn agrees(&self, host: usize) -> bool {
        let replicas = self.of(host).admin.replicas().await;
        let ready = replicas.iter().filter(|replica| replica.state == "ready");
        let (peers, own): (Vec<_>, Vec<_>) = ready.partition(|replica| replica.name.starts_with("peer:"));
        let others = (1..=HOSTS).filter(|other| *other != host);
        let is_known = |other: usize| {
            let name = peer(self.lab.node(other));
            peers.iter().any(|peer| peer.name == name && peer.weight == self.replicas[other - 1] as u64)
        };
        replicas.len() == self.replicas[host - 1] + HOSTS - 1
            && own.len() == self.replicas[host - 1]
            && others.into_iter().all(is_known)
    }

    /// Waits until the hosts say that this one is, or is not, ready.
    pub(super) async fn until_ready(&self, at: [usize; 2], host: usize, is_ready: bool) {
        let name = peer(self.lab.node(host));
        for at in at {
            let what = format!("host {at} says whether {name} is ready: {is_ready}");
            eventually(PATIENCE, &what, async || (self.of(at).admin.state(&name).await == "ready") == is_ready).await;
        }
    }
}

/// The admin listeners of all hosts by their addresses.
pub(super) fn addresses(lab: &Lab) -> String {
    let peers: Vec<_> = lab.nodes().iter().map(|node| format!("{}:9900", node.addr())).collect();
    peers.join(",")
}

/// What the other hosts call one.
pub(super) fn peer(node: &Node) -> String {
    format!("peer:{}", node.name())
}
