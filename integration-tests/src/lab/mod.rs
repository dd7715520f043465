//! Several Docker hosts on one machine: an engine for each, in namespaces of its own, joined by a bridge that is in
//! namespaces of its own, too. Nothing of it is to be seen in the machine's own network, two labs do not meet, and the
//! machine's dockerd is only asked for images. Needs root, `iproute2` and `iptables`.
//!
//! ```text
//!            hub 10.99.0.1/24 (the test itself, and whoever plays a client)
//!          ┌──┴───────────┬──────────────┐
//!    node-1 10.99.0.11  node-2 .12     node-3 .13     a dockerd each; `docker.sock` is a file for everybody
//! ```
//!
//! - [`Lab::with`] makes one, and lets a scenario run in the hub's network: what a node publishes is at its address.
//! - [`Node::cut`], [`Node::heal`]: its link. [`Engine::kill`]: its dockerd. [`Node::crash`]: all of it.
//! - [`swarm`]: a Swarm of the nodes.
#![expect(clippy::print_stderr, reason = "what went wrong is for whoever reads the test's output")]

mod engine;
mod namespaces;
mod node;
mod scratch;
pub mod swarm;
mod tls;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

pub use engine::Engine;
pub use namespaces::Namespaces;
pub use node::Node;
use scratch::Scratch;
use tls::Authority;

use crate::command::{docker, run};
use crate::process::in_network;

/// How long anything may take that depends on engines.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The user, and the group, of our images' programs.
const IMAGES_USER: &str = "65532";
const BRIDGE: &str = "lab0";

/// Whether engines listen on TCP in the lab's network, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tcp {
    /// Only on its socket.
    #[default]
    Off,
    /// Port 2375, for everybody.
    Plain,
    /// Port 2376, for who has a certificate of the lab's.
    Tls,
}

/// What a lab is to have.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Up to 9.
    pub nodes: usize,
    /// How else the engines can be reached.
    pub tcp: Tcp,
    /// Images of this machine's engine that every node has.
    pub images: &'static [&'static str],
}

impl Default for Plan {
    fn default() -> Self {
        Self { nodes: 3, tcp: Tcp::Off, images: &["evenkeel:local", "evenkeel-replica:local"] }
    }
}

/// Docker hosts that run; dropping it ends and removes everything.
pub struct Lab {
    nodes: Vec<Node>,
    authority: Option<Authority>,
    hub: Namespaces,
    /// Dropped last: everything is in there.
    scratch: Scratch,
}

impl Lab {
    /// Runs a scenario in the network of a lab, once every engine is up and has the images.
    ///
    /// # Panics
    /// Whatever is missing: a scenario that cannot be run has failed.
    pub fn with<T: Send>(plan: &Plan, scenario: impl AsyncFnOnce(&mut Self) -> T + Send) -> T {
        let work = || {
            let mut lab = Self::new(plan);
            lab.hub.enter_network();
            block_on(async {
                lab.start(plan).await;
                scenario(&mut lab).await
            })
        };
        // A thread of its own, whose network becomes another one for good.
        thread::scope(|threads| threads.spawn(work).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The hub and the nodes, linked; no engine runs yet.
    fn new(plan: &Plan) -> Self {
        assert!((1..=9).contains(&plan.nodes), "{} nodes", plan.nodes);
        let scratch = Scratch::new();
        let directory = scratch.path().join("hub");
        fs::create_dir(&directory).expect("a directory");
        let hub = Namespaces::new("hub", &directory);
        for args in [
            &["link", "add", BRIDGE, "type", "bridge"][..],
            &["addr", "add", "10.99.0.1/24", "dev", BRIDGE],
            &["link", "set", BRIDGE, "up"],
        ] {
            run(hub.command("ip").args(args));
        }
        let authority = (plan.tcp == Tcp::Tls).then(|| Authority::new(&scratch.path().join("tls")));
        let nodes = (1..=plan.nodes).map(|number| Node::new(&scratch, &hub, number)).collect();
        Self { nodes, authority, hub, scratch }
    }

    async fn start(&mut self, plan: &Plan) {
        for node in &mut self.nodes {
            node.listen(plan.tcp, self.authority.as_ref());
            node.engine.start();
        }
        for node in &mut self.nodes {
            node.engine.until_up().await;
        }
        self.load(plan.images);
    }

    /// Copies images of this machine's engine to every node.
    ///
    /// # Panics
    /// If one is not there: `just image` makes it.
    pub fn load(&self, images: &[&str]) {
        if images.is_empty() {
            return;
        }
        let archive = self.scratch.path().join("images.tar").display().to_string();
        docker(&[&["save", "--output", &archive], images].concat());
        thread::scope(|threads| {
            for node in &self.nodes {
                threads.spawn(|| node.engine.docker(&["load", "--quiet", "--input", &archive]));
            }
        });
        let _ = fs::remove_file(archive);
    }

    /// What the test keeps is in here.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node by its number, from 1.
    ///
    /// # Panics
    /// If there is none.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// The same, to be changed.
    ///
    /// # Panics
    /// If there is none.
    pub fn node_mut(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number - 1]
    }

    /// The directory of a client's certificate as Docker names its files: `ca.pem`, `cert.pem`, `key.pem`.
    ///
    /// # Panics
    /// Without [`Tcp::Tls`].
    pub fn certificates(&self) -> &Path {
        self.authority.as_ref().expect("a lab with TLS").client()
    }

    /// A program of this machine in the hub's network; it ends with the scenario.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        in_network(&self.hub.network(), program)
    }
}

/// A scenario's runtime.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("a runtime").block_on(work)
}
