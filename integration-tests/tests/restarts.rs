//! evenkeel itself is restarted under load: what each way of doing so loses. The figures are printed; what is promised
//! is checked.

#![expect(clippy::print_stderr, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use integration_tests::callers::{Crowd, Tally};
use integration_tests::client::{self, Client};
use integration_tests::{TestReplica, eventually, procfs};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
/// Restarts in one run.
const RESTARTS: usize = 5;
/// Clients of each habit.
const CLIENTS: usize = 8;

/// A process that is ended with the test.
struct Process(Child);

impl Process {
    fn spawn(command: &mut Command) -> Self {
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }

    fn terminate(&self) {
        rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
    }

    /// Ends it in order, and waits for that.
    async fn stop(mut self) {
        self.terminate();
        assert!(self.until_ended().await.success());
    }

    async fn until_ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually(PATIENCE, "the process ends", async || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn evenkeel(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// One replica, a directory for the keeper's socket, and a port for all that come and go.
struct Site {
    replica: TestReplica,
    dir: TempDir,
    addr: SocketAddr,
}

impl Site {
    fn new() -> Self {
        Self { replica: TestReplica::start("gateway-1"), dir: TempDir::new().unwrap(), addr: free_port() }
    }

    fn socket(&self) -> String {
        self.dir.path().join("port.sock").to_str().unwrap().to_owned()
    }

    /// A keeper of the port.
    async fn keeper(&self) -> Process {
        let (listen, socket) = (self.addr.to_string(), self.socket());
        let keeper = Process::spawn(&mut evenkeel(&["keep-port", "--listen", &listen, "--socket", &socket]));
        eventually(PATIENCE, "the port is kept", async || self.dir.path().join("port.sock").exists()).await;
        keeper
    }

    /// An evenkeel with these flags, and where its admin room is.
    fn run(&self, flags: &[&str]) -> (Process, SocketAddr) {
        let admin = free_port();
        (Process::spawn(self.command(admin).args(flags)), admin)
    }

    fn command(&self, admin: SocketAddr) -> Command {
        let replica = format!("gateway={}", self.replica.addr());
        let admin = admin.to_string();
        evenkeel(&["run", "--no-docker", "--threads=2", "--static", &replica, "--admin-listen", &admin])
    }

    async fn run_plainly(&self) -> Process {
        let listen = self.addr.to_string();
        self.until_ready(self.run(&["--listen", &listen])).await
    }

    async fn run_kept(&self) -> Process {
        self.until_ready(self.run(&["--listen-from", &self.socket()])).await
    }

    async fn until_ready(&self, (process, admin): (Process, SocketAddr)) -> Process {
        eventually(PATIENCE, "evenkeel is ready", async || {
            client::get(admin, "/readyz").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        process
    }
}

/// Ends the load, and prints what it got.
async fn stop(load: Crowd, what: &str) -> [Tally; 3] {
    let tallies = load.stop().await;
    for (name, tally) in Crowd::NAMES.iter().zip(&tallies) {
        eprintln!("{what}, {name}: {tally}");
    }
    tallies
}

/// Restarts under load, the old process stopping before the next one starts.
async fn restarts(site: &Site, run: impl AsyncFn() -> Process, what: &str) -> [Tally; 3] {
    let mut running = run().await;
    let load = Crowd::start(CLIENTS, site.addr, "/slow?ms=2");
    for _ in 0..RESTARTS {
        requests(site, 500).await;
        running.stop().await;
        running = run().await;
    }
    stop(load, what).await
}

/// Until so many more requests have come through.
async fn requests(site: &Site, more: u64) {
    let until = site.replica.requests() + more;
    eventually(PATIENCE, "requests come through", async || site.replica.requests() >= until).await;
}

#[tokio::test]
async fn plainly_restarted_it_refuses_in_between() {
    let site = Site::new();
    let [anew, ..] = restarts(&site, async || site.run_plainly().await, "plain restart").await;
    assert!(anew.refused > 0, "or the other tests would show nothing");
}

#[tokio::test]
async fn with_the_port_kept_a_restart_refuses_nobody() {
    let site = Site::new();
    let _keeper = site.keeper().await;
    assert_nothing_lost(&restarts(&site, async || site.run_kept().await, "port kept, one after the other").await);
}

#[tokio::test]
async fn with_the_port_kept_the_next_may_start_before_the_last_stops() {
    let site = Site::new();
    let _keeper = site.keeper().await;
    let mut running = site.run_kept().await;
    let load = Crowd::start(CLIENTS, site.addr, "/slow?ms=2");
    for _ in 0..RESTARTS {
        requests(&site, 500).await;
        let next = site.run_kept().await;
        running.stop().await;
        running = next;
    }
    assert_nothing_lost(&stop(load, "port kept, overlapping").await);
}

#[tokio::test]
async fn who_comes_while_nothing_runs_waits_also_after_a_kill() {
    let site = Site::new();
    let keeper = site.keeper().await;
    for _ in 0..RESTARTS {
        let mut running = site.run_kept().await;
        assert_eq!(client::get(site.addr, "/").await.unwrap().status, 200);
        running.0.kill().unwrap();
        running.until_ended().await;
        let mut waiting = Client::connect(site.addr).await.unwrap();
        let (answer, _next) = tokio::join!(waiting.get("/"), site.run_kept());
        assert_eq!(answer.unwrap().status, 200);
    }
    let (resident, pid) = (procfs::resident(keeper.0.id()).unwrap(), keeper.0.id());
    eprintln!("the keeper ({pid}) occupies {resident} KiB");
    keeper.stop().await;
    assert!(!site.dir.path().join("port.sock").exists());
    assert!(Client::connect(site.addr).await.is_err());
}

#[tokio::test]
async fn systemd_keeps_the_port_as_well() {
    let site = Site::new();
    // What systemd does: it listens, and hands that to each process as descriptor 3.
    let port = TcpListener::bind(site.addr).unwrap();
    let run = async || {
        let admin = free_port();
        let inner = site.command(admin);
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" --listen-from systemd",
            "sh",
        ]);
        command.arg(inner.get_program()).args(inner.get_args());
        command.env_clear().stdin(OwnedFd::from(port.try_clone().unwrap()));
        site.until_ready((Process::spawn(&mut command), admin)).await
    };
    assert_nothing_lost(&restarts(&site, run, "systemd's socket").await);
}

fn assert_nothing_lost([anew, busy, idle]: &[Tally; 3]) {
    for tally in [anew, busy, idle] {
        assert!(tally.is_clean() && tally.answered > 0, "{tally:?}");
    }
    assert_eq!((anew.crossed, busy.crossed), (0, 0), "who asks again at once is told in time to connect anew");
}

#[tokio::test]
async fn without_a_port_to_take_it_says_why_and_ends() {
    let site = Site::new();
    let output = |flags: &[&str]| {
        let output = site.command(free_port()).args(flags).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = output(&["--listen-from", "systemd"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.starts_with("error: systemd passed 0 sockets"), "{error}");
    let (code, error) = output(&["--listen-from", "port"]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("like /run/evenkeel/port.sock"), "{error}");
}

#[tokio::test]
async fn while_it_waits_for_its_keeper_a_signal_ends_it() {
    let site = Site::new();
    let (mut waiting, _) = site.run(&["--listen-from", &site.socket()]);
    // Its handlers are installed before it looks for the keeper; a process of before that would end by the signal.
    let status = format!("/proc/{}/status", waiting.0.id());
    let catches_term = |status: &str| {
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << 14) != 0)
    };
    eventually(PATIENCE, "it catches SIGTERM", async || {
        std::fs::read_to_string(&status).is_ok_and(|status| catches_term(&status))
    })
    .await;
    waiting.terminate();
    assert!(waiting.until_ended().await.success());
}
