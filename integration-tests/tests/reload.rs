//! Settings that change while evenkeel runs: on SIGHUP, and when the file has another content.

#![expect(clippy::panic, clippy::print_stderr, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, os};

use integration_tests::callers::Crowd;
use integration_tests::client::{self, Client};
use integration_tests::process::{self, Place, Process};
use integration_tests::{TestReplica, eventually};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
/// Changes of the file in one run under load.
const CHANGES: usize = 100;
/// Clients of each habit.
const CLIENTS: usize = 4;
const ALL: [&str; 4] = ["gateway-1", "gateway-2", "gateway-3", "gateway-4"];

/// An evenkeel with a file.
struct Evenkeel {
    process: Process,
    addr: SocketAddr,
    admin: SocketAddr,
    dir: TempDir,
}

fn free_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A file with these replicas.
fn naming<'a>(replicas: impl IntoIterator<Item = &'a TestReplica>) -> String {
    let replicas: Vec<_> = replicas.into_iter().map(|replica| format!("\"gateway={}\"", replica.addr())).collect();
    format!("static = [{}]\n", replicas.join(", "))
}

impl Evenkeel {
    /// One that is ready, by this file; its addresses are in there, too.
    async fn start(text: &str) -> Self {
        let (dir, addr, admin) = (TempDir::new().unwrap(), free_port(), free_port());
        let file = dir.path().join("evenkeel.toml");
        let mut command = process::command(Place::Anywhere, env!("CARGO_BIN_EXE_evenkeel"));
        command.args(["run", "--no-docker", "--config"]).arg(&file).env_clear();
        fs::write(&file, text_with(text, addr, admin)).unwrap();
        let process = Process::start("evenkeel", command, dir.path()).unwrap();
        let evenkeel = Self { process, addr, admin, dir };
        eventually(PATIENCE, "evenkeel is ready", async || {
            client::get(admin, "/readyz").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        evenkeel
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("evenkeel.toml")
    }

    /// Writes over what is in the file.
    fn write(&self, text: &str) {
        fs::write(self.file(), text_with(text, self.addr, self.admin)).unwrap();
    }

    /// Lets another file take its place, as editors do.
    fn replace(&self, text: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, text_with(text, self.addr, self.admin)).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn hang_up(&self) {
        self.process.signal(Signal::HUP).unwrap();
    }

    /// Writes the file, and has it read at once; returns when that is done.
    async fn change(&self, text: &str) {
        let before = self.applied().await;
        self.replace(text);
        self.hang_up();
        eventually(PATIENCE, "the change is applied", async || self.applied().await > before).await;
    }

    async fn applied(&self) -> u64 {
        self.metric("evenkeel_config_reloads_total{outcome=\"applied\"}").await
    }

    async fn metric(&self, series: &str) -> u64 {
        let text = client::get(self.admin, "/metrics").await.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_default();
        line.trim().parse().unwrap_or_else(|_| panic!("{series} is not in\n{text}"))
    }

    async fn replicas(&self) -> Vec<Value> {
        let answer = client::get(self.admin, "/api/v1/replicas").await.unwrap();
        let parsed: Value = serde_json::from_slice(&answer.body).unwrap();
        parsed.get("replicas").unwrap_or(&parsed).as_array().unwrap().clone()
    }

    /// The replica's state; `None` if it is not listed.
    async fn state(&self, replica: &TestReplica) -> Option<String> {
        let addr = replica.addr().to_string();
        let all = self.replicas().await;
        all.iter().find(|one| one["addr"] == addr.as_str()).map(|one| one["state"].as_str().unwrap().to_owned())
    }

    async fn until_state(&self, replica: &TestReplica, state: impl Into<Option<&str>>) {
        let state = state.into();
        eventually(PATIENCE, &format!("{} is {state:?}", replica.name()), async || {
            self.state(replica).await.as_deref() == state
        })
        .await;
    }

    async fn until_logged(&self, words: &str) {
        eventually(PATIENCE, &format!("{words:?} is in the log"), async || {
            self.process.output().unwrap().contains(words)
        })
        .await;
    }
}

fn text_with(text: &str, addr: SocketAddr, admin: SocketAddr) -> String {
    let listen = if text.contains("listen = ") { String::new() } else { format!("listen = \"{addr}\"\n") };
    format!("{listen}admin-listen = \"{admin}\"\nthreads = 2\n{text}")
}

#[tokio::test]
async fn a_new_content_is_taken_wherever_it_comes_from() {
    let replicas = TestReplica::start_many(&ALL);
    let [first, second, third, fourth] = &replicas[..] else { unreachable!() };
    let evenkeel = Evenkeel::start(&naming([first])).await;
    evenkeel.until_state(first, "ready").await;
    evenkeel.write(&naming([first, second]));
    evenkeel.until_state(second, "ready").await;
    evenkeel.replace(&naming([first, second, third]));
    evenkeel.until_state(third, "ready").await;

    // As Kubernetes does it: the file is a link through a link that is replaced.
    let (old, new) = (evenkeel.dir.path().join("old"), evenkeel.dir.path().join("new-data"));
    let data = evenkeel.dir.path().join("..data");
    fs::create_dir(&old).unwrap();
    fs::create_dir(&new).unwrap();
    fs::rename(evenkeel.file(), old.join("evenkeel.toml")).unwrap();
    os::unix::fs::symlink("old", &data).unwrap();
    os::unix::fs::symlink("..data/evenkeel.toml", evenkeel.file()).unwrap();
    let text = text_with(&naming([second, third, fourth]), evenkeel.addr, evenkeel.admin);
    fs::write(new.join("evenkeel.toml"), text).unwrap();
    os::unix::fs::symlink("new-data", evenkeel.dir.path().join("..tmp")).unwrap();
    fs::rename(evenkeel.dir.path().join("..tmp"), data).unwrap();
    evenkeel.until_state(fourth, "ready").await;
    evenkeel.until_state(first, None).await;
}

#[tokio::test]
async fn a_hangup_reads_the_file_and_ends_nothing() {
    let replicas = TestReplica::start_many(&ALL[..2]);
    let evenkeel = Evenkeel::start(&naming(&replicas[..1])).await;
    evenkeel.hang_up();
    evenkeel.until_logged("Configuration read again: nothing changes").await;
    evenkeel.change(&format!("{}retries = 7\n", naming(&replicas))).await;
    evenkeel.until_logged("Configuration changed cause=\"retries, static\"").await;
    evenkeel.until_state(&replicas[1], "ready").await;
    assert_eq!(client::get(evenkeel.addr, "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_wrong_file_is_refused_with_all_its_errors_and_the_old_one_stays() {
    let replicas = TestReplica::start_many(&ALL[..2]);
    let evenkeel = Evenkeel::start(&naming(&replicas[..1])).await;
    let is_successful = async || evenkeel.metric("evenkeel_config_last_reload_successful").await;
    assert_eq!(is_successful().await, 1);
    evenkeel.replace("retires = 3\nhold = \"5\"\nstatic = \"gateway=box:1\"\n");
    evenkeel.until_logged("Configuration refused: the old one stays").await;
    for error in ["retires: no such setting; did you mean retries?", "hold: \"5\" needs a unit", "static: \"box:1\""] {
        evenkeel.until_logged(error).await;
    }
    eventually(PATIENCE, "that is counted", async || is_successful().await == 0).await;
    assert_eq!(evenkeel.metric("evenkeel_config_reloads_total{outcome=\"refused\"}").await, 1);
    assert_eq!(client::get(evenkeel.addr, "/").await.unwrap().status, 200);
    let page = client::get(evenkeel.admin, "/debug/replicas").await.unwrap().text();
    assert!(page.contains("configuration: REFUSED, 3 things are wrong with the file"), "{page}");

    fs::remove_file(evenkeel.file()).unwrap();
    evenkeel.until_logged("cannot read").await;
    evenkeel.change(&naming(&replicas)).await;
    evenkeel.until_state(&replicas[1], "ready").await;
    assert_eq!(is_successful().await, 1);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_changes() {
    let replicas = TestReplica::start_many(&ALL[..2]);
    let evenkeel = Evenkeel::start(&naming(&replicas[..1])).await;
    let other = free_port();
    evenkeel.change(&format!("listen = \"{other}\"\n{}", naming(&replicas))).await;
    evenkeel.until_logged("Settings changed that need a restart: the old ones stay until then cause=\"listen\"").await;
    evenkeel.until_state(&replicas[1], "ready").await;
    assert_eq!(client::get(evenkeel.addr, "/").await.unwrap().status, 200);
    assert!(Client::connect(other).await.is_err());
    assert_eq!(evenkeel.metric("evenkeel_config_settings_waiting").await, 1);
}

#[tokio::test]
async fn a_replica_that_is_taken_out_finishes_its_requests_and_may_come_back_meanwhile() {
    let replicas = TestReplica::start_many(&ALL[..2]);
    let [first, second] = &replicas[..] else { unreachable!() };
    let evenkeel = Evenkeel::start(&naming([first])).await;
    evenkeel.until_state(first, "ready").await;
    let post = async |client: &mut Client| {
        let before = first.requests();
        client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        eventually(PATIENCE, "the replica has it", async || first.requests() > before).await;
    };
    let mut early = Client::connect(evenkeel.addr).await.unwrap();
    let mut late = Client::connect(evenkeel.addr).await.unwrap();
    first.hold();
    post(&mut early).await;
    evenkeel.change(&naming([second])).await;
    evenkeel.until_state(first, "draining").await;
    assert_eq!(client::get(evenkeel.addr, "/").await.unwrap().header("x-served-by"), Some(&*second.addr().to_string()));

    // Named again before it was done, it is what it was.
    evenkeel.change(&naming([first])).await;
    evenkeel.until_state(first, "ready").await;
    evenkeel.until_state(second, None).await;
    post(&mut late).await;
    evenkeel.change(&naming([second])).await;
    evenkeel.until_state(first, "draining").await;
    first.release();
    for client in [&mut early, &mut late] {
        assert_eq!(client.read_response().await.unwrap().status, 200);
    }
    evenkeel.until_state(first, None).await;
}

#[tokio::test]
async fn no_request_fails_while_the_file_changes_a_hundred_times() {
    let replicas = TestReplica::start_many(&ALL);
    let evenkeel = Evenkeel::start(&naming(&replicas)).await;
    evenkeel.until_state(&replicas[3], "ready").await;
    let load = Crowd::start(CLIENTS, evenkeel.addr, "/slow?ms=2");
    for change in 0..CHANGES {
        // One, two or three of them, never the same as before; and now and then another limit for good measure.
        let (from, count) = (change % ALL.len(), 1 + change % 3);
        let named = replicas.iter().cycle().skip(from).take(count);
        evenkeel.change(&format!("{}retries = {}\n", naming(named), 1 + change % 5)).await;
    }
    for (name, tally) in Crowd::NAMES.iter().zip(load.stop().await) {
        eprintln!("{CHANGES} changes of the file, {name}: {tally}");
        assert!(tally.is_clean() && tally.crossed == 0 && tally.answered > 0, "{name}: {tally}");
    }
    assert!(evenkeel.applied().await >= CHANGES as u64);
}
