//! The three replicas at the addresses of the example, each a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use integration_tests::Result;
use integration_tests::process::{self, Place, Process};
use rustix::process::Signal;

/// The names and addresses, as the files of the example have them.
const REPLICAS: [(&str, &str); 3] = [("replica-1", "10.0.0.1"), ("replica-2", "10.0.0.2"), ("replica-3", "10.0.0.3")];
const PORT: &str = "3001";
/// How long a killed process may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Replicas {
    program: PathBuf,
    scratch: PathBuf,
    running: Vec<Option<Process>>,
}

impl Replicas {
    /// Gives this namespace their addresses, and starts them.
    pub(crate) fn start(program: &Path, scratch: &Path) -> Result<Self> {
        let mut replicas = Self { program: program.to_owned(), scratch: scratch.to_owned(), running: Vec::new() };
        for (index, (_, address)) in REPLICAS.iter().enumerate() {
            if !Command::new("ip").args(["address", "add", address, "dev", "lo"]).status()?.success() {
                return Err(format!("lo does not take {address}").into());
            }
            replicas.running.push(None);
            replicas.restart(index)?;
        }
        Ok(replicas)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        REPLICAS.iter().map(|(name, _)| *name)
    }

    /// Ends one with SIGKILL.
    pub(crate) fn kill(&mut self, index: usize) -> Result<()> {
        if let Some(mut process) = self.running.get_mut(index).and_then(Option::take) {
            process.signal(Signal::KILL)?;
            process.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts one that is not running.
    pub(crate) fn restart(&mut self, index: usize) -> Result<()> {
        let Some(((name, address), place)) = REPLICAS.get(index).zip(self.running.get_mut(index)) else {
            return Err(format!("there is no replica {index}").into());
        };
        let mut command = process::command(Place::Anywhere, &self.program);
        command.env("ADDRESS", address).env("PORT", PORT).env("REPLICA_NAME", name);
        *place = Some(Process::start(name, command, &self.scratch)?);
        Ok(())
    }
}
