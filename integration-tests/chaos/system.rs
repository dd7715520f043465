//! What stands between the clients and the replicas: evenkeel in its container, or one of its peers, Debian's program
//! in the network namespace of a container, since only there Docker's DNS answers.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use integration_tests::peer::{Peer, Service};
use integration_tests::process::{Process, in_network};
use integration_tests::{Result, client, procfs};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::container::{Container, PORT};

/// Where every system listens.
pub(crate) const LISTEN: u16 = 8080;
const ADMIN: u16 = 9900;
/// As HAProxy's manual has it, addresses are kept for a while.
const SERVICE: Service = Service { name: "gateway", replicas: 12, obsolete: "30s" };
/// How long an answer of the admin listener may take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    Evenkeel,
    /// No balancer: the clients ask Docker's DNS whenever they connect.
    DockerDns,
    Nginx,
    Haproxy,
    Caddy,
}

/// A system that runs.
pub(crate) struct Running {
    pub(crate) system: System,
    /// Its own, or that of the namespace it is in.
    pub(crate) container: Option<Container>,
    process: Option<Process>,
}

/// What the kernel says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Vitals {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel",
            Self::DockerDns => "docker-dns",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }

    fn peer(self) -> Option<Peer> {
        match self {
            Self::Evenkeel | Self::DockerDns => None,
            Self::Nginx => Some(Peer::Nginx),
            Self::Haproxy => Some(Peer::Haproxy),
            Self::Caddy => Some(Peer::Caddy),
        }
    }
}

/// A command in the network namespace of a container; it ends when this program does, whatever ends it.
pub(crate) fn inside(container: &Container, program: impl AsRef<Path>) -> Command {
    in_network(Path::new(&format!("/proc/{}/ns/net", container.pid)), program.as_ref())
}

impl Running {
    /// evenkeel, whose container it is; or a peer, beside that container's own program.
    pub(crate) fn start(system: System, container: Option<Container>, scratch: &Path) -> Result<Self> {
        let process = match (system.peer(), &container) {
            (Some(peer), Some(container)) => {
                let (program, arguments) = peer.program(scratch, &SERVICE)?;
                let mut command = inside(container, program);
                command.args(arguments);
                Some(Process::start(program, command, scratch)?)
            }
            _ => None,
        };
        Ok(Self { system, container, process })
    }

    /// Where clients find it; `None`: at the replicas.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        self.container.as_ref().map(|container| (container.addr, LISTEN).into())
    }

    /// What the load is told to connect to.
    pub(crate) fn target(&self) -> String {
        self.addr().map_or_else(|| format!("gateway:{PORT}"), |addr| addr.to_string())
    }

    /// The hostname of the replica that answered a request through it.
    pub(crate) async fn who_answers(&self) -> Option<String> {
        let answer = timeout(Duration::from_secs(1), client::get(self.addr()?, "/")).await.ok()?.ok()?;
        (answer.status == 200).then(|| answer.text().split_whitespace().next().map(str::to_owned)).flatten()
    }

    /// The sum of a metric's samples, if there are any; only evenkeel has them.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let page = self.page("/metrics").await?;
        let samples = page.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().ok()).flatten()
        });
        samples.reduce(|sum, sample| sum + sample)
    }

    async fn page(&self, path: &str) -> Option<String> {
        let addr: (Ipv4Addr, u16) = (self.container.as_ref().filter(|_| self.system == System::Evenkeel)?.addr, ADMIN);
        let answer = timeout(PATIENCE, client::get(addr.into(), path)).await.ok()?.ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    /// The process that matters, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        match (self.system, &self.process, &self.container) {
            (System::Evenkeel, _, Some(container)) => Some(container.pid),
            (_, Some(process), _) => Some(process.pid()),
            _ => None,
        }
    }

    pub(crate) fn vitals(&self) -> Result<Option<Vitals>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        let count = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let descriptors = procfs::family(pid).iter().map(count).sum();
        Ok(Some(Vitals { resident_kib: procfs::resident(pid)?, descriptors }))
    }

    /// An error with the end of its log if it is over.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.has_ended()? { Err(process.failure("has ended")) } else { Ok(()) }
    }

    /// What it said.
    pub(crate) fn log(&self) -> Result<String> {
        match (&self.process, &self.container) {
            (Some(process), _) => Ok(process.output()?),
            (None, Some(container)) => container.log(),
            (None, None) => Ok(String::new()),
        }
    }
}
