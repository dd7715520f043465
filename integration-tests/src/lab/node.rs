//! One Docker host of a lab.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::namespaces::Namespaces;
use super::scratch::Scratch;
use super::tls::Authority;
use super::{BRIDGE, Engine, Tcp};
use crate::command::run;
use crate::process::in_network;

/// A Docker host: its engine and its link to the others.
pub struct Node {
    /// Its dockerd.
    pub engine: Engine,
    name: String,
    addr: Ipv4Addr,
    tcp: Tcp,
    /// The bridge's end of its link, and the namespace that this is in.
    port: String,
    hub: PathBuf,
}

impl Node {
    /// Links a new one to the hub's bridge.
    pub(super) fn new(scratch: &Scratch, hub: &Namespaces, number: usize) -> Self {
        let name = format!("node-{number}");
        let engine = Engine::new(scratch, &name);
        let addr = Ipv4Addr::new(10, 99, 0, 10 + u8::try_from(number).expect("few nodes"));
        let port = format!("lab-{number}");
        let inside = engine.namespaces();
        let (first, prefix) = (inside.first().to_string(), format!("{addr}/24"));
        let from_hub = |args: &[&str]| run(in_network(&hub.network(), "ip").args(args));
        let within = |args: &[&str]| run(inside.command("ip").args(args));
        from_hub(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &first]);
        from_hub(&["link", "set", &port, "master", BRIDGE, "up"]);
        within(&["addr", "add", &prefix, "dev", "eth0"]);
        within(&["link", "set", "eth0", "up"]);
        within(&["route", "add", "default", "via", "10.99.0.1"]);
        Self { engine, name, addr, tcp: Tcp::Off, port, hub: hub.network() }
    }

    /// Has its dockerd listen on TCP, too.
    pub(super) fn listen(&mut self, tcp: Tcp, authority: Option<&Authority>) {
        self.tcp = tcp;
        let host = self.tcp_host();
        match (tcp, authority) {
            (Tcp::Off, _) => {}
            // What makes dockerd believe that it is meant.
            (Tcp::Plain, _) => self.engine.add_options([format!("--host={host}"), "--tls=false".to_owned()]),
            (Tcp::Tls, authority) => {
                let authority = authority.expect("who signs");
                let keys = authority.server(&self.name, self.addr);
                let file = |option: &str, name: &str| format!("--{option}={}", keys.join(name).display());
                self.engine.add_options([
                    format!("--host={host}"),
                    "--tlsverify".to_owned(),
                    file("tlscacert", "ca.pem"),
                    file("tlscert", "cert.pem"),
                    file("tlskey", "key.pem"),
                ]);
            }
        }
    }

    /// `node-1`, which is its hostname and so its name in a Swarm.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address in the lab's network: what its containers publish is there.
    pub fn addr(&self) -> Ipv4Addr {
        self.addr
    }

    /// Where its engine listens on TCP, as a setting has it.
    pub fn tcp_host(&self) -> String {
        let port = if self.tcp == Tcp::Tls { 2376 } else { 2375 };
        format!("tcp://{}:{port}", self.addr)
    }

    /// Pulls its plug: packets to it are lost and nobody is told.
    ///
    /// # Panics
    /// If that fails.
    pub fn cut(&self) {
        self.set_link("down");
    }

    /// Puts the plug back.
    ///
    /// # Panics
    /// If that fails.
    pub fn heal(&self) {
        self.set_link("up");
    }

    /// Takes it off the power for good: everything on it ends at once, and nobody is told.
    pub fn crash(&mut self) {
        self.engine.crash();
    }

    fn set_link(&self, state: &str) {
        run(in_network(&self.hub, "ip").args(["link", "set", &self.port, state]));
    }

    /// A program in the network of one of its running containers.
    ///
    /// # Panics
    /// If there is no such container.
    pub fn inside(&self, container: &str, program: impl AsRef<Path>) -> std::process::Command {
        in_network(&self.network_of(container), program.as_ref())
    }

    /// A file that is the network namespace of one of its running containers.
    ///
    /// # Panics
    /// If there is no such container.
    pub fn network_of(&self, container: &str) -> PathBuf {
        let pid = self.engine.docker(&["inspect", "--type=container", "--format={{.State.Pid}}", container]);
        self.engine.namespaces().network_of(pid.parse().expect("a process id"))
    }
}
