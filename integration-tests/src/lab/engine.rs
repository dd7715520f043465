//! A Docker engine of a test's own, to be restarted while the machine's goes on: a second dockerd in namespaces of its
//! own, so that everything it starts ends with the first process in there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::namespaces::Namespaces;
use super::scratch::Scratch;
use super::{IMAGES_USER, PATIENCE, block_on};
use crate::command::{docker, run};
use crate::docker_api::Api;
use crate::eventually;
use crate::process::Process;

/// A dockerd, or the place of one.
pub struct Engine {
    /// Dropped first: the daemons end with them.
    namespaces: Namespaces,
    /// Each dockerd there was; the last may run.
    daemons: Vec<Process>,
    directory: PathBuf,
    cgroup: String,
    options: Vec<String>,
}

impl Engine {
    /// Runs a scenario with an engine started with such options, in the engine's network: from there its containers can be
    /// reached, and every port is free.
    ///
    /// # Panics
    /// Whatever is missing: a scenario that cannot be run has failed.
    pub fn with(options: &[&str], scenario: impl AsyncFnOnce(&mut Self) + Send) {
        let work = || {
            let scratch = Scratch::new();
            let mut engine = Self::new(&scratch, "engine");
            engine.options.extend(options.iter().map(|option| (*option).to_owned()));
            engine.namespaces.enter_network();
            block_on(async {
                engine.start();
                engine.until_up().await;
                scenario(&mut engine).await;
            });
        };
        // A thread of its own, whose network becomes another one for good.
        if let Err(panic) = thread::scope(|threads| threads.spawn(work).join()) {
            std::panic::resume_unwind(panic);
        }
    }

    /// The place of one, with that hostname; nothing runs yet.
    pub(super) fn new(scratch: &Scratch, hostname: &str) -> Self {
        let directory = scratch.path().join(hostname);
        // What it listens on is in a directory of its own, for containers to mount.
        fs::create_dir_all(directory.join("run")).expect("a directory");
        // Its own, since the machine's would be read otherwise.
        fs::write(directory.join("daemon.json"), "{}").expect("a file");
        let namespaces = Namespaces::new(hostname, &directory);
        let cgroup = format!("/{}/{hostname}", scratch.name());
        Self { namespaces, daemons: Vec::new(), directory, cgroup, options: Vec::new() }
    }

    /// Adds options to those that dockerd is started with.
    pub(super) fn add_options(&mut self, options: impl IntoIterator<Item = String>) {
        self.options.extend(options);
    }

    /// What the engine and the test keep is in here.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory with the engine's `docker.sock` in it, for a container that is to ask the engine; anybody may.
    pub fn socket_directory(&self) -> PathBuf {
        self.directory.join("run")
    }

    /// What it is in.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Where it listens, as a setting has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of its socket, for everybody on this machine.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("run/docker.sock")
    }

    /// The id of the group that may use its socket.
    ///
    /// # Panics
    /// If it does not run.
    pub fn socket_group(&self) -> u32 {
        fs::metadata(self.socket()).expect("the socket").gid()
    }

    /// Its API.
    pub fn api(&self) -> Api {
        Api::new(self.socket())
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Starts dockerd, and does not wait for it.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn start(&mut self) {
        run(self.namespaces.command("mkdir").args(["-p", "/run/docker-socket"]));
        let mut command = self.namespaces.command("dockerd");
        // There is no registry: a Swarm would try to pull for 20 s before it took the image that is there.
        command.env("DOCKER_SERVICE_PREFER_OFFLINE_IMAGE", "1");
        command.args(["--config-file", &self.path("daemon.json"), "--host", &self.host(), "--group", IMAGES_USER]);
        // Where Compose files and stacks mount it from, as on any host; to be seen in the namespaces alone.
        command.args(["--host=unix:///run/docker.sock", "--host=unix:///run/docker-socket/docker.sock"]);
        command.args(["--data-root", &self.path("data"), "--exec-root", &self.path("exec")]);
        command.args(["--pidfile", &self.path("dockerd.pid"), "--cgroup-parent", &self.cgroup]);
        // What every machine can do: no driver of its kernel, no systemd.
        command.args(["--storage-driver=vfs", "--exec-opt=native.cgroupdriver=cgroupfs"]).args(&self.options);
        let name = format!("dockerd-{}", self.daemons.len() + 1);
        self.daemons.push(Process::start(&name, command, &self.directory).expect("dockerd"));
    }

    /// Ends dockerd by SIGTERM, as `systemctl stop` does, and waits for that.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let dockerd = self.dockerd();
        let status = dockerd.wait(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        assert!(status.success(), "{}", dockerd.failure(&status.to_string()));
    }

    /// Ends dockerd by SIGKILL, and waits for that. Its containers go on.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.dockerd().wait(PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        // A dockerd that finds the file takes it for that of another.
        let _ = fs::remove_file(self.directory.join("dockerd.pid"));
    }

    /// Ends all that is in its namespaces.
    pub(super) fn crash(&mut self) {
        self.namespaces.end();
    }

    /// By its id in there, where it is not that of the nsenter which waits for it.
    fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} $(cat {})", self.path("dockerd.pid"));
        run(self.namespaces.command("sh").args(["-c", &kill]));
    }

    fn dockerd(&mut self) -> &mut Process {
        self.daemons.last_mut().expect("it was started")
    }

    /// Waits until it answers; returns when it did.
    ///
    /// # Panics
    /// If it does not, or has ended.
    pub async fn until_up(&mut self) -> SystemTime {
        let socket = self.socket();
        let dockerd = self.dockerd();
        eventually(PATIENCE, "the engine answers", async || {
            assert!(!dockerd.has_ended().unwrap_or(true), "{}", dockerd.failure("has ended"));
            timeout(PATIENCE, ping(&socket)).await.is_ok_and(|answer| answer.is_ok_and(|is_up| is_up))
        })
        .await;
        SystemTime::now()
    }

    /// `docker ARGS…` on this engine.
    ///
    /// # Panics
    /// When it fails; the message has its output.
    pub fn docker(&self, args: &[&str]) -> String {
        docker(&[&["--host", &self.host()], args].concat())
    }

    /// The command, to be run where it may fail.
    pub fn docker_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host()]).args(args);
        command
    }

    /// Brings an image here from the machine's engine.
    ///
    /// # Panics
    /// If it is not there: `just image` makes it.
    pub fn load(&self, image: &str) {
        let archive = self.path("image.tar");
        docker(&["save", "--output", &archive, image]);
        self.docker(&["load", "--quiet", "--input", &archive]);
        let _ = fs::remove_file(archive);
    }

    /// When a container was started for the first time by the dockerd that runs now: each remembers only its own events.
    ///
    /// # Panics
    /// If none was.
    pub fn first_start(&self) -> SystemTime {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() + 1;
        let filters = ["--filter", "type=container", "--filter", "event=start", "--format", "{{.TimeNano}}"];
        let started =
            self.docker(&[&["events", "--since", "0", "--until", &now.to_string()], filters.as_slice()].concat());
        let first = started.lines().filter_map(|at| at.parse::<u64>().ok()).min();
        UNIX_EPOCH + Duration::from_nanos(first.expect("no container was started"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if thread::panicking() {
            for dockerd in &self.daemons {
                eprintln!("--- {}", dockerd.failure("said at last"));
            }
        }
    }
}

/// `GET /_ping`
async fn ping(socket: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}
