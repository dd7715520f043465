//! Processes that are started here, and end here.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Result;

const POLL: Duration = Duration::from_millis(10);
/// How long a process may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(3);

/// A running process; dropping it ends it.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// Where a process may run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the core of the contenders.
    Contender,
    /// On the core of the client and of the replicas.
    Others,
    /// Wherever the kernel likes.
    Anywhere,
}

/// Prepares `program` to run in its place.
pub fn command(place: Place, program: impl AsRef<Path>) -> Command {
    let core = match place {
        Place::Anywhere => return Command::new(program.as_ref()),
        Place::Contender => "0",
        Place::Others => "1",
    };
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program.as_ref());
    command
}

/// Lets this thread, and all that it will start, run on one core only.
///
/// # Errors
/// If there is no such core.
pub fn stay_on(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

/// A program in a network namespace; it ends when the thread that starts it does, whatever ends that.
pub fn in_network(network: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "nsenter"]).arg(format!("--net={}", network.display()));
    command.arg("--").arg(program);
    command
}

impl Process {
    /// Starts `command`; what it prints goes to `NAME.log` in `scratch`.
    pub fn start(name: &str, mut command: Command, scratch: &Path) -> Result<Self> {
        let log = scratch.join(format!("{name}.log"));
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        let child = command.spawn().map_err(|error| format!("{name} ({:?}): {error}", command.get_program()))?;
        Ok(Self { child, name: name.to_owned(), log })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Polls `holds` until it does; an error once the process is gone or `patience` is over.
    pub fn until(&mut self, patience: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !holds() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("not ready after {patience:?}")));
            }
            thread::sleep(POLL * 5);
        }
        Ok(())
    }

    /// Whether it is over.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(rustix::process::kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for the end; after `patience` it is killed, which is an error.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Err(self.failure(&format!("still runs after {patience:?}")));
            }
            thread::sleep(POLL);
        }
    }

    /// What it has printed so far.
    pub fn output(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// An error that shows the end of the log.
    pub fn failure(&self, what: &str) -> Box<dyn std::error::Error> {
        let log = self.output().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n  ");
        format!("{} {what}\n  {end}", self.name).into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let is_over = self.has_ended().unwrap_or_default();
        if !is_over && self.signal(Signal::TERM).is_ok() {
            let _ = self.wait(GRACE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, scratch: &Path) -> Process {
        let mut command = command(Place::Anywhere, "sh");
        command.args(["-c", script]);
        Process::start("shell", command, scratch).unwrap()
    }

    #[test]
    fn a_dropped_process_is_gone_even_if_it_ignores_the_signal() {
        let scratch = tempfile::tempdir().unwrap();
        let mut process = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done", scratch.path());
        let log = scratch.path().join("shell.log");
        process.until(GRACE, || fs::read_to_string(&log).unwrap() == "ready\n").unwrap();
        let proc = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }

    #[test]
    fn a_process_that_ends_too_early_shows_its_log() {
        let scratch = tempfile::tempdir().unwrap();
        let error = shell("echo no such file >&2; exit 3", scratch.path()).until(GRACE, || false).unwrap_err();
        assert!(error.to_string().contains("exit status: 3\n  no such file"), "{error}");
    }
}
