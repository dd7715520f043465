//! A Docker engine of the scenario's own, to be restarted while the machine's goes on: a second dockerd in namespaces of
//! its own, so that everything it starts ends with the first process in there.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use integration_tests::eventually;
use integration_tests::process::Process;
use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::docker::{docker, run};

/// In the names of directories and cgroups, before the id of the process they are of.
const PREFIX: &str = "evenkeel-engine-";
const CGROUPS: &str = "/sys/fs/cgroup";
/// The first process of the namespaces: it says what its id is outside of them, hides the sockets of the machine's
/// containerd, which dockerd would take for its own, and waits for the processes that lose their parents.
const FIRST: &str = "set -e; read -r pid rest </proc/self/stat; mount -t proc proc /proc; mount -t tmpfs tmpfs /run
    ip link set lo up; echo first $pid; while sleep 1000; do :; done";

pub(crate) struct Engine {
    directory: TempDir,
    namespaces: Process,
    /// The first process in them, as it is called outside.
    first: Pid,
    options: &'static [&'static str],
    /// Each dockerd there was; the last may run.
    daemons: Vec<Process>,
}

impl Engine {
    /// Runs a scenario with an engine started with such options, in the engine's network: from there its containers can be
    /// reached, and every port is free.
    ///
    /// # Panics
    /// Whatever is missing: a scenario that cannot be run has failed.
    pub(crate) fn with(options: &'static [&'static str], scenario: impl AsyncFnOnce(&mut Self) + Send) {
        // A thread of its own, whose network becomes another one for good.
        let work = || {
            let mut engine = Self::new(options);
            engine.enter();
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                engine.start();
                engine.until_up().await;
                scenario(&mut engine).await;
            });
        };
        if let Err(panic) = thread::scope(|threads| threads.spawn(work).join()) {
            std::panic::resume_unwind(panic);
        }
    }

    fn new(options: &'static [&'static str]) -> Self {
        assert!(rustix::process::geteuid().is_root(), "only root may start an engine");
        remove_leftovers();
        let directory = TempDir::with_prefix(format!("{PREFIX}{}-", std::process::id())).unwrap();
        // Its own, since the machine's would be read otherwise.
        fs::write(directory.path().join("daemon.json"), "{}").unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--"]);
        command.args(["sh", "-c", FIRST]);
        let mut namespaces = Process::start("namespaces", command, directory.path()).unwrap();
        let log = directory.path().join("namespaces.log");
        let first = || {
            let log = fs::read_to_string(&log).ok()?;
            Pid::from_raw(log.strip_prefix("first ")?.strip_suffix('\n')?.parse().ok()?)
        };
        namespaces.until(PATIENCE, || first().is_some()).unwrap();
        let first = first().unwrap();
        Self { directory, namespaces, first, options, daemons: Vec::new() }
    }

    /// Moves this thread, and those that it will start, into the engine's network.
    fn enter(&self) {
        let network = File::open(format!("/proc/{}/ns/net", self.first.as_raw_nonzero())).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// What the engine and the scenario keep is in here.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn path(&self, name: &str) -> String {
        self.directory().join(name).to_str().unwrap().to_owned()
    }

    /// Where it listens, as a setting has it.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock"))
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first.as_raw_nonzero())).args(["--mount", "--net", "--pid", "--"]);
        command
    }

    /// Starts dockerd, and does not wait for it.
    pub(crate) fn start(&mut self) {
        let mut command = self.inside();
        command.args(["dockerd", "--config-file", &self.path("daemon.json"), "--host", &self.host()]);
        command.args(["--data-root", &self.path("data"), "--exec-root", &self.path("exec")]);
        command.args(["--pidfile", &self.path("dockerd.pid"), "--cgroup-parent", &format!("/{}", self.cgroup())]);
        // What every machine can do: no driver of its kernel, no systemd.
        command.args(["--storage-driver=vfs", "--exec-opt=native.cgroupdriver=cgroupfs"]).args(self.options);
        let name = format!("dockerd-{}", self.daemons.len() + 1);
        self.daemons.push(Process::start(&name, command, self.directory()).unwrap());
    }

    /// Ends dockerd by SIGTERM, as `systemctl stop` does, and waits for that.
    pub(crate) fn stop(&mut self) {
        // Its id in there, where it is not that of the nsenter which waits for it.
        let kill = format!("kill -TERM $(cat {})", self.path("dockerd.pid"));
        run(self.inside().args(["sh", "-c", &kill]));
        let dockerd = self.daemons.last_mut().unwrap();
        let status = dockerd.wait(PATIENCE).unwrap();
        assert!(status.success(), "{}", dockerd.failure(&status.to_string()));
    }

    /// Waits until it answers; returns when it did.
    pub(crate) async fn until_up(&mut self) -> SystemTime {
        let socket = self.directory().join("docker.sock");
        let dockerd = self.daemons.last_mut().unwrap();
        eventually(PATIENCE, "the engine answers", async || {
            assert!(!dockerd.has_ended().unwrap(), "dockerd has ended");
            timeout(PATIENCE, ping(&socket)).await.is_ok_and(|answer| answer.is_ok_and(|is_up| is_up))
        })
        .await;
        SystemTime::now()
    }

    /// `docker ARGS…` on this engine.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        docker(&[&["--host", &self.host()], args].concat())
    }

    /// Brings an image here from the machine's engine.
    pub(crate) fn load(&self, image: &str) {
        let archive = self.path("image.tar");
        docker(&["save", "--output", &archive, image]);
        self.docker(&["load", "--input", &archive]);
    }

    /// When a container was started for the first time by the dockerd that runs now: each remembers only its own events.
    pub(crate) fn first_start(&self) -> SystemTime {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 1;
        let filters = ["--filter", "type=container", "--filter", "event=start", "--format", "{{.TimeNano}}"];
        let started =
            self.docker(&[&["events", "--since", "0", "--until", &now.to_string()], filters.as_slice()].concat());
        let first = started.lines().map(|at| at.parse::<u64>().unwrap()).min();
        UNIX_EPOCH + Duration::from_nanos(first.expect("no container was started"))
    }

    fn cgroup(&self) -> &str {
        self.directory().file_name().and_then(|name| name.to_str()).unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if thread::panicking() {
            for dockerd in &self.daemons {
                eprintln!("--- {}", dockerd.failure("said at last"));
            }
        }
        // Whatever is in the namespaces ends with their first process, and that only once all the others have.
        let killed = rustix::process::kill_process(self.first, Signal::KILL);
        if let Err(error) = self.namespaces.wait(PATIENCE) {
            eprintln!("The engine does not end: {error}, {killed:?}");
        }
        remove_cgroups(self.cgroup());
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

/// Removes what scenarios left behind that were killed before they could: their processes went with them.
fn remove_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap() {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
            remove_cgroups(&name);
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

/// Removes a cgroup and those below it, in each hierarchy there is.
fn remove_cgroups(name: &str) {
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let roots: Vec<_> = hierarchies.chain([PathBuf::from(CGROUPS)]).map(|root| root.join(name)).collect();
    for root in roots.iter().filter(|root| root.is_dir()) {
        // It takes the kernel a moment to see that nothing runs in there.
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = remove_tree(root) {
            if Instant::now() > deadline {
                eprintln!("{} is left behind: {error}", root.display());
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// As `remove_dir_all`, but of directories whose files go with them and cannot be removed.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
