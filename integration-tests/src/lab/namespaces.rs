//! Namespaces that everything in them ends with.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::PATIENCE;
use crate::process::Process;

/// The first process in them: it says what its id is outside, hides the sockets of the machine's containerd, which
/// dockerd would take for its own, has a hostname of its own, and waits for the processes that lose their parents.
const FIRST: &str = "set -e; read -r pid rest </proc/self/stat; mount -t proc proc /proc; mount -t tmpfs tmpfs /run
    echo \"$0\" >/proc/sys/kernel/hostname; ip link set lo up; echo first $pid; while sleep 1000; do :; done";

/// Network, process, mount and UTS namespaces; dropping them ends all that is in there, as does the end of this program,
/// whatever ends it.
pub struct Namespaces {
    first: Pid,
    holder: Process,
    has_ended: bool,
}

impl Namespaces {
    /// New ones, with a hostname; what is kept of them goes to `directory`.
    ///
    /// # Panics
    /// If they cannot be made.
    pub fn new(hostname: &str, directory: &Path) -> Self {
        assert!(rustix::process::geteuid().is_root(), "only root may make namespaces with an engine in them");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--uts", "--fork"]);
        command.args(["--kill-child", "--", "sh", "-c", FIRST, hostname]);
        let mut holder = Process::start("namespaces", command, directory).expect("unshare");
        let log = directory.join("namespaces.log");
        let first = || {
            let log = fs::read_to_string(&log).ok()?;
            Pid::from_raw(log.strip_prefix("first ")?.strip_suffix('\n')?.parse().ok()?)
        };
        holder.until(PATIENCE, || first().is_some()).unwrap_or_else(|error| panic!("{error}"));
        Self { first: first().expect("it was there"), holder, has_ended: false }
    }

    /// The id of their first process, outside of them.
    pub fn first(&self) -> i32 {
        self.first.as_raw_nonzero().get()
    }

    /// A file that is the network namespace.
    pub fn network(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.first()).into()
    }

    /// A file that is the network namespace of a process in here, such as a container's, by the id that it has in here.
    pub fn network_of(&self, pid: u32) -> PathBuf {
        format!("/proc/{}/root/proc/{pid}/ns/net", self.first()).into()
    }

    /// A program in all of them.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first())).args(["--mount", "--net", "--pid", "--uts", "--"]);
        command.arg(program);
        command
    }

    /// Moves this thread, and those that it will start, into the network namespace.
    ///
    /// # Panics
    /// If it cannot.
    pub fn enter_network(&self) {
        let network = File::open(self.network()).expect("the network namespace");
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
    }
}

impl Namespaces {
    /// Ends all that is in there.
    pub(super) fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        // Whatever is in there ends with the first process, and that only once all the others have.
        let killed = rustix::process::kill_process(self.first, Signal::KILL);
        if let Err(error) = self.holder.wait(PATIENCE) {
            eprintln!("The namespaces do not end: {error}, {killed:?}");
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.end();
    }
}
