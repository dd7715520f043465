//! Reads the settings again, on SIGHUP and when the file has another content: what is right with them holds from then on,
//! and what is wrong changes nothing.
//!
//! The file is looked at, not watched through the kernel: its content is what counts, whether an editor has renamed
//! another over it, a link on the way to it leads elsewhere now, or it is on a network's file system.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::config::settings::Settings;
use crate::config::{self, Content, Errors, Reloaded, Running};
use crate::metrics::Reloads;

/// The time between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);
/// How long a new content must have stayed the same: who writes into the file may be half-way.
const SETTLED: Duration = Duration::from_millis(250);

/// Reads the settings again.
#[derive(Debug)]
pub(super) struct Reloader {
    running: Running,
    /// What was in the file when it was read last, whatever that came to.
    seen: Option<Content>,
    reloads: Arc<Reloads>,
}

impl Reloader {
    /// One for these settings, whose file was read at the start.
    pub(super) fn new(running: Running, reloads: Arc<Reloads>) -> Self {
        Self { seen: running.content().cloned(), running, reloads }
    }

    /// Waits until another content than was read last has been in the file for a while; for ever if there is no file.
    pub(super) async fn changed(&self) {
        loop {
            sleep(LOOK).await;
            let mut content = self.look().await;
            while content != self.seen {
                sleep(SETTLED).await;
                let settled = self.look().await;
                if settled == content {
                    return;
                }
                content = settled;
            }
        }
    }

    /// What is in the file now. Reading it may hang, which must not hang us.
    async fn look(&self) -> Option<Content> {
        let Some(path) = self.running.path().map(str::to_owned) else { return pending().await };
        // It ends in a panic only if reading does, or with the runtime.
        spawn_blocking(move || config::content(&path)).await.ok()
    }

    /// Reads the settings again and says what that came to: those that hold from now on, or nothing.
    pub(super) async fn reload(&mut self) -> Option<Settings> {
        let Some(path) = self.running.path().map(str::to_owned) else {
            info!("No file is named with --config, so there is nothing to read again");
            return None;
        };
        let content = self.look().await?;
        let outcome = self.running.reload(&content);
        self.seen = Some(content);
        match outcome {
            Ok(reloaded) => {
                tell(&path, &reloaded);
                self.reloads.record_applied(reloaded.waiting);
                Some(reloaded.settings)
            }
            Err(Errors(errors)) => {
                errors.iter().for_each(|error| error!(%error, "Configuration wrong"));
                warn!(cause = path, "Configuration refused: the old one stays");
                self.reloads.record_refused(errors.len());
                None
            }
        }
    }
}

fn tell(path: &str, Reloaded { changed, waiting, .. }: &Reloaded) {
    if !waiting.is_empty() {
        warn!(cause = waiting.join(", "), "Settings changed that need a restart: the old ones stay until then");
    }
    match changed.is_empty() {
        true => info!(cause = path, "Configuration read again: nothing changes"),
        false => info!(cause = changed.join(", "), "Configuration changed"),
    }
}
