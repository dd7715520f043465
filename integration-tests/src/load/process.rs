//! The process that sends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Plan;
use crate::Result;

/// How long what is open may take to end, beyond a client's own patience.
const ENDING: Duration = Duration::from_secs(10);

/// It sends until it is stopped; dropping this kills it.
pub struct Load {
    child: Child,
    records: PathBuf,
    patience: Duration,
}

impl Load {
    /// Starts it. `command` is a program, where it is to run, whose arguments after `load` are a [`Plan`].
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut command: Command, plan: &Plan, log: &Path) -> Result<Self> {
        command.arg("load").args(plan.arguments());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(log)?).spawn()?;
        let patience = Duration::from_millis(plan.patience_ms) + ENDING;
        Ok(Self { child, records: plan.records.clone(), patience })
    }

    /// Whether it is over.
    ///
    /// # Errors
    /// If it has failed.
    pub fn has_ended(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            Some(status) if !status.success() => Err(format!("the load: {status}").into()),
            status => Ok(status.is_some()),
        }
    }

    /// Lets every client end what it has begun; returns the file with the records.
    ///
    /// # Errors
    /// If it has failed, or does not end.
    pub async fn stop(mut self) -> Result<PathBuf> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + self.patience;
        while !self.has_ended()? {
            if Instant::now() > deadline {
                return Err(format!("the load goes on after {:?}", self.patience).into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(std::mem::take(&mut self.records))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
