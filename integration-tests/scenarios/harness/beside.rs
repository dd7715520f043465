//! evenkeel as a process beside engines, and their replicas: as a container of one it would be gone with the others.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::command::docker;
use integration_tests::eventually;
use integration_tests::process::Process;
use rustix::process::Signal;

use super::{Admin, Engine, PATIENCE};

/// The program of the image, which needs nothing else, in a directory.
pub(crate) fn program(directory: &Path) -> PathBuf {
    let container = docker(&["create", "evenkeel:local"]);
    let program = directory.join("evenkeel");
    docker(&["cp", &format!("{container}:/evenkeel"), program.to_str().unwrap()]);
    docker(&["rm", &container]);
    program
}

/// One more replica of the service `gateway`, with such options of `docker run` more; returns its container's id.
pub(crate) fn run_gateway(engine: &Engine, number: usize, options: &[&str]) -> String {
    let name = format!("--name=gateway-{number}");
    let labels = ["evenkeel.enable=true", "evenkeel.service=gateway", "evenkeel.health.path=/ready"];
    let labels = labels.map(|label| format!("--label={label}"));
    let mut args = vec!["run", "--detach", &name];
    args.extend(labels.iter().map(String::as_str));
    // evenkeel's own probe says when one is ready, and says it sooner.
    args.push("--no-healthcheck");
    args.extend(options);
    args.push("evenkeel-replica:local");
    engine.docker(&args)
}

/// Where one listens, and where it is found.
pub(crate) struct Listening {
    on: Ipv4Addr,
    found_at: Ipv4Addr,
}

impl Listening {
    /// On every address; the ports are published at this one.
    pub(crate) fn published(at: Ipv4Addr) -> Self {
        Self { on: Ipv4Addr::UNSPECIFIED, found_at: at }
    }
}

impl From<Ipv4Addr> for Listening {
    fn from(addr: Ipv4Addr) -> Self {
        Self { on: addr, found_at: addr }
    }
}

/// A process that is told on a panic; dropping it ends it.
pub(crate) struct Evenkeel {
    pub(crate) admin: Admin,
    /// Where clients find it.
    pub(crate) proxy: SocketAddr,
    process: Process,
}

impl Evenkeel {
    /// Starts what `command` runs, on ports 8080 and 9900, with such options more; its log goes to the directory. Returns
    /// once its admin listener answers, whatever it has found until then.
    pub(crate) async fn start(
        name: &str,
        mut command: Command,
        listening: impl Into<Listening>,
        options: &[String],
        directory: &Path,
    ) -> Self {
        let Listening { on, found_at } = listening.into();
        let (proxy, admin) = (SocketAddr::from((found_at, 8080)), SocketAddr::from((found_at, 9900)));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let (listen, admin_listen) = (format!("--listen={on}:8080"), format!("--admin-listen={on}:9900"));
        command.args(["run", &listen, &admin_listen]).args(options);
        let process = Process::start(name, command, directory).unwrap();
        let mut evenkeel = Self { admin: Admin::new(admin), proxy, process };
        eventually(PATIENCE, &format!("{name} answers"), async || {
            evenkeel.assert_runs();
            evenkeel.admin.is_alive().await
        })
        .await;
        evenkeel
    }

    /// # Panics
    /// If it has ended.
    pub(crate) fn assert_runs(&mut self) {
        assert!(!self.process.has_ended().unwrap(), "{}", self.process.failure("ended"));
    }

    /// Sends it a signal that it survives.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// Ends it by a signal, and waits for that.
    pub(crate) fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.process.wait(PATIENCE).unwrap();
    }
}

impl Drop for Evenkeel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}", self.process.failure("said at last"));
        }
    }
}
