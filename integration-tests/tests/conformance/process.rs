//! evenkeel as a process of its own, for what concerns a whole process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::client::Client;

/// A running evenkeel with one worker, killed with this value.
pub(crate) struct Process {
    child: Child,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Process {
    /// One that may have so many file descriptors, before this replica.
    pub(crate) async fn start(descriptors: u32, replica: SocketAddr, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {descriptors} && exec \"$@\""), "sh"]);
        command.arg(env!("CARGO_BIN_EXE_evenkeel")).args(["run", "--no-docker", "--threads=1", "--health-interval=1h"]);
        command.args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=text"]);
        command.arg(format!("--static=gateway={replica}")).args(args).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Aside, so that the clients of other worlds are not kept waiting while their time runs.
        tokio::task::spawn_blocking(move || Self::spawn(command)).await.expect("no panic")
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("sh starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut addr_of = |event: &str| {
            let line = log.by_ref().map_while(Result::ok).find(|line| line.contains(event)).expect(event);
            let (_, addr) = line.split_once("addr=").expect("an address");
            addr.trim().parse().expect("an address")
        };
        let (proxy, admin) = (addr_of("Proxy listening"), addr_of("Admin listening"));
        // Read on, or its log would block it in the end.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, proxy, admin }
    }

    /// The processor time that it has used, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields = stat.rsplit_once(')').expect("a name in brackets").1.split_ascii_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// How often an accept of it has failed for want of something, as its metrics say.
    pub(crate) async fn pauses(&self, admin: &mut Client) -> f64 {
        let page = admin.ask("GET /metrics HTTP/1.1\r\nHost: admin\r\n\r\n").await.expect("a page");
        let page = String::from_utf8(page.body).expect("text");
        let value = page.lines().find_map(|line| line.strip_prefix("evenkeel_accept_pauses_total{reason=\"error\"} "));
        value.expect("a sample").parse().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
