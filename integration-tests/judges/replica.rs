//! A replica of a judge's.

use std::thread::{self, JoinHandle};

use integration_tests::{Result, TestReplica};
use tokio_util::sync::CancellationToken;

use crate::evenkeel;

/// A replica that answers until this is dropped.
pub(crate) struct Replica {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Replica {
    /// Starts it at [`evenkeel::REPLICA`].
    pub(crate) fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let replica = {
            let _context = runtime.enter();
            TestReplica::start_at("replica", evenkeel::REPLICA)?
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            runtime.block_on(stopped.cancelled());
            drop(replica);
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
        // Its socket is closed when its runtime is gone. A panic of it was printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
