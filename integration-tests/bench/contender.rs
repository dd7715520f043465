//! Who is measured, and how each is started: the same address for replicas, round robin, X-Forwarded-For added (but
//! by the relay), access logs off.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::Result;
use crate::process::{self, Place, Process};
use crate::wire::steady;
use crate::workload::Workload;

/// How evenkeel picks, since the others do.
pub(crate) const POLICY: &str = "round-robin";

/// What stands between the clients and the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    Evenkeel,
    /// Another build of evenkeel (`--before`), to see what a change does.
    #[value(skip)]
    Before,
    Haproxy,
    /// HAProxy that lets the kernel move bodies; only where they are large.
    HaproxySplice,
    Nginx,
    /// Reads no HTTP: the floor.
    Relay,
}

/// A directory for the files of those that need some, and the programs to measure.
pub(crate) struct Site {
    pub(crate) scratch: PathBuf,
    pub(crate) evenkeel: PathBuf,
    /// What [`Contender::Before`] runs, if it takes part.
    pub(crate) before: Option<PathBuf>,
    pub(crate) others: Others,
}

/// The programs that evenkeel is measured beside.
#[derive(Args, Clone)]
pub(crate) struct Others {
    /// HAProxy; this machine's own if it is just `haproxy`
    #[arg(long, default_value_os_t = unpacked("haproxy"))]
    haproxy: PathBuf,
    /// nginx; this machine's own if it is just `nginx`
    #[arg(long, default_value_os_t = unpacked("nginx"))]
    nginx: PathBuf,
}

impl Site {
    /// Where nobody but evenkeel takes part.
    pub(crate) fn of_one(scratch: PathBuf, evenkeel: PathBuf) -> Self {
        Self { scratch, evenkeel, before: None, others: Others { haproxy: "haproxy".into(), nginx: "nginx".into() } }
    }
}

/// Where cargo and the set-up put what they make: above the directory that this program is in.
fn target() -> PathBuf {
    let own = env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).unwrap_or(Path::new("target")).to_owned()
}

/// Where `deploy/build` puts the program of the image.
pub(crate) fn shipped() -> PathBuf {
    target().join("image/evenkeel")
}

/// A program of Debian 13, if it was unpacked (`bench/get-others`), else this machine's own.
fn unpacked(program: &str) -> PathBuf {
    Some(target().join("others/bin").join(program)).filter(|path| path.exists()).unwrap_or_else(|| program.into())
}

/// A contender that answers.
pub(crate) struct Running {
    pub(crate) contender: Contender,
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
}

/// Where the replicas listen.
pub(crate) fn replica_addrs() -> [SocketAddr; 4] {
    [9001, 9002, 9003, 9004].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Starts all four replicas, in one process.
pub(crate) fn start_replicas(site: &Site, place: Place) -> Result<Process> {
    let mut command = process::command(place, env::current_exe()?);
    command.arg("replicas").args(replica_addrs().map(|addr| addr.to_string()));
    let mut replicas = Process::start("replicas", command, &site.scratch)?;
    replicas.until(Duration::from_secs(5), || replica_addrs().iter().all(|addr| steady::ask(*addr, 1).is_ok()))?;
    Ok(replicas)
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel",
            Self::Before => "before",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::Relay => "relay",
        }
    }

    /// Where it listens.
    pub(crate) fn addr(self) -> SocketAddr {
        let port = match self {
            Self::Evenkeel => 8001,
            Self::Haproxy => 8002,
            Self::HaproxySplice => 8003,
            Self::Nginx => 8004,
            Self::Relay => 8005,
            Self::Before => 8006,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// What the program says of itself.
    pub(crate) fn version(self, site: &Site) -> String {
        let (program, flag) = match self {
            Self::Evenkeel | Self::Before => (self.program(site), "--version"),
            Self::Haproxy => (&*site.others.haproxy, "-v"),
            Self::Nginx => (&*site.others.nginx, "-v"),
            Self::HaproxySplice | Self::Relay => return String::new(),
        };
        let said = Command::new(program).arg(flag).output().unwrap_or_else(|error| std::process::Output {
            status: Default::default(),
            stdout: error.to_string().into_bytes(),
            stderr: Vec::new(),
        });
        let text = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
        let version = text.lines().next().unwrap_or_default();
        if matches!(self, Self::Evenkeel | Self::Before) {
            format!("{}: {version}, {}", self.name(), program.display())
        } else {
            version.to_owned()
        }
    }

    /// Starts it for a workload and waits until it forwards.
    pub(crate) fn start(self, site: &Site, workload: &Workload) -> Result<Running> {
        let command = self.command(site, workload.threads, workload.place(Place::Contender))?;
        let mut process = Process::start(self.name(), command, &site.scratch)?;
        let addr = self.addr();
        // As many in a row as there are replicas.
        let forwards = || replica_addrs().iter().all(|_| steady::ask(addr, 1).is_ok_and(|status| status == 200));
        process.until(Duration::from_secs(10), forwards)?;
        Ok(Running { contender: self, process, addr })
    }

    fn command(self, site: &Site, threads: usize, place: Place) -> Result<Command> {
        let mut command;
        match self {
            Self::Evenkeel | Self::Before => {
                command = process::command(place, self.program(site));
                command.args(self.evenkeel_arguments(threads, POLICY));
            }
            Self::Haproxy | Self::HaproxySplice => {
                let splice = if self == Self::HaproxySplice { "option splice-auto" } else { "" };
                let template = include_str!("config/haproxy.cfg").replace("@SPLICE@", splice);
                let file = self.configure(site, &template, threads, |number, addr| {
                    format!("    server gateway-{number} {addr}")
                })?;
                command = process::command(place, &site.others.haproxy);
                command.arg("-db").arg("-f").arg(file);
            }
            Self::Nginx => {
                let template = include_str!("config/nginx.conf");
                let file = self.configure(site, template, threads, |_, addr| format!("        server {addr};"))?;
                command = process::command(place, &site.others.nginx);
                command.args(["-e", "stderr", "-c"]).arg(file);
            }
            Self::Relay => {
                command = process::command(place, env::current_exe()?);
                command.arg("relay").arg(self.addr().to_string()).arg(threads.to_string());
                command.args(replica_addrs().map(|addr| addr.to_string()));
            }
        }
        Ok(command)
    }

    /// Which build of evenkeel this is.
    fn program(self, site: &Site) -> &Path {
        match (self, &site.before) {
            (Self::Before, Some(before)) => before,
            _ => &site.evenkeel,
        }
    }

    /// evenkeel as in production, but for where its replicas come from; every feature of its data path is on.
    pub(crate) fn evenkeel_arguments(self, threads: usize, policy: &str) -> Vec<String> {
        let mut arguments = vec!["run".to_owned(), "--no-docker".to_owned(), "--log=warn".to_owned()];
        let listen = self.addr();
        let admin = SocketAddr::new(listen.ip(), listen.port() + 1900);
        arguments.extend([format!("--listen={listen}"), format!("--admin-listen={admin}")]);
        arguments.extend([format!("--threads={threads}"), format!("--policy={policy}")]);
        // Idle clients need one descriptor each, not the two that the default counts with.
        arguments.push("--max-connections=16000".to_owned());
        arguments.extend(replica_addrs().map(|addr| format!("--static=gateway={addr}")));
        arguments
    }

    fn configure(
        self,
        site: &Site,
        template: &str,
        threads: usize,
        replica: impl Fn(usize, SocketAddr) -> String,
    ) -> Result<PathBuf> {
        let replicas: Vec<_> = (1..).zip(replica_addrs()).map(|(number, addr)| replica(number, addr)).collect();
        let text = template
            .replace("@THREADS@", &threads.to_string())
            .replace("@LISTEN@", &self.addr().to_string())
            .replace("@SCRATCH@", &site.scratch.display().to_string())
            .replace("@REPLICAS@", &replicas.join("\n"));
        let file = site.scratch.join(format!("{}.conf", self.name()));
        fs::write(&file, text)?;
        Ok(file)
    }
}
