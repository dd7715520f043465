//! The signals that end the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Error;

/// SIGTERM and SIGINT, from when it was made.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Error> {
        let install = |kind| signal(kind).map_err(Error::system("install a signal handler"));
        Ok(Self { terminate: install(SignalKind::terminate())?, interrupt: install(SignalKind::interrupt())? })
    }

    /// Waits for the next one, and says its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
