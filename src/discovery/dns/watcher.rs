//! The watcher: looks up one name for as long as the program runs, whatever the DNS says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::resolver::{Found, Miss, Resolver};
use super::tracker::Tracker;
use crate::change::{Change, Observed};
use crate::config::settings::{DnsOnEmpty, DnsRules, DnsSettings, Settings};
use crate::discovery::status::DiscoveryStatus;

/// Looks up one name and tells the registry what it comes to.
#[derive(Debug)]
pub struct Watcher {
    status: Arc<DiscoveryStatus>,
    changes: mpsc::Sender<Observed>,
    settings: DnsSettings,
    /// The settings as they are now.
    newest: watch::Receiver<Arc<Settings>>,
    tracker: Tracker,
    /// How long to wait after the next failure.
    pause: Duration,
    /// Whether the failure that lasts was told.
    is_told: bool,
}

impl Watcher {
    /// A watcher that has not asked yet. What it learns goes to `changes`, what it does to `status`. Rules and defaults
    /// are taken from the `newest` settings as they change.
    pub fn new(
        settings: DnsSettings,
        newest: watch::Receiver<Arc<Settings>>,
        status: Arc<DiscoveryStatus>,
        changes: mpsc::Sender<Observed>,
    ) -> Self {
        let (tracker, pause) = (Tracker::new(settings.clone()), settings.rules.min_ttl);
        Self { status, changes, settings, newest, tracker, pause, is_told: false }
    }

    /// Asks each time the newest answer has held long enough, until `stop` (or until the receiver of the changes is gone).
    /// A lookup that fails changes nothing.
    pub async fn run(mut self, stop: CancellationToken) {
        let _ = stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) -> Option<()> {
        let mut resolver = None;
        loop {
            let outcome = self.ask(&mut resolver).await;
            let now = Instant::now();
            let pause = match outcome {
                Ok(found) => self.on_found(&found, now).await?,
                Err(miss) => self.on_miss(&miss, now).await?,
            };
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = self.newest.changed() => {
                    resolver = None;
                    self.adopt().await?;
                }
            }
        }
    }

    /// Takes on what has changed about the settings.
    async fn adopt(&mut self) -> Option<()> {
        let all = Arc::clone(&self.newest.borrow_and_update());
        if let Some(settings) = all.dns.iter().find(|dns| dns.provider == self.settings.provider) {
            self.settings = settings.clone();
            self.pause = settings.rules.min_ttl;
            for change in self.tracker.adopt(settings.clone()) {
                self.changes.send(change.into()).await.ok()?;
            }
        }
        Some(())
    }

    /// A resolver that failed is made anew, since the system's servers may be others by then.
    async fn ask(&self, kept: &mut Option<Resolver>) -> Result<Found, Miss> {
        let resolver = match kept.take() {
            Some(resolver) => resolver,
            None => Resolver::new(&self.settings)?,
        };
        let found = resolver.ask().await?;
        *kept = Some(resolver);
        Ok(found)
    }

    /// Does what the answer says, and returns how long it holds.
    async fn on_found(&mut self, found: &Found, now: Instant) -> Option<Duration> {
        self.status.events.fetch_add(1, Ordering::Relaxed);
        let changes = self.tracker.found(found, now);
        if self.tracker.is_rotation_news() {
            let cause = "the answers seem to be changing parts of the truth: say --dns-linger";
            warn!(provider = %self.settings.provider, cause, "Addresses keep leaving and coming back");
        }
        self.apply(changes, now).await?;
        let rules = &self.settings.rules;
        Some(found.ttl.min(rules.max_ttl).max(rules.min_ttl))
    }

    /// Goes on with what is known, unless it is settled that there is nothing and the settings want that to be believed.
    async fn on_miss(&mut self, miss: &Miss, now: Instant) -> Option<Duration> {
        match miss {
            Miss::Nothing(_) if self.settings.rules.on_empty == DnsOnEmpty::Drain => {
                self.status.events.fetch_add(1, Ordering::Relaxed);
                let changes = self.tracker.emptied(now);
                self.apply(changes, now).await?;
            }
            Miss::Nothing(_) | Miss::Failed(_) => self.note_failure(miss),
            Miss::Undecodable(_) => {
                self.status.decode_errors.fetch_add(1, Ordering::Relaxed);
                self.note_failure(miss);
            }
        }
        let DnsRules { min_ttl, max_ttl, .. } = self.settings.rules;
        let pause = self.pause;
        self.pause = (pause * 2).min(max_ttl).max(min_ttl);
        Some(pause)
    }

    async fn apply(&mut self, changes: Vec<Change>, at: Instant) -> Option<()> {
        // The first answer is one, and who applies it says so.
        let is_reset = matches!(changes.first(), Some(Change::Reset { .. }));
        for change in changes {
            self.changes.send(Observed { change, at }).await.ok()?;
        }
        self.status.consider_all(self.tracker.considered());
        if !is_reset {
            self.status.set_synced();
        }
        self.note_success();
        Some(())
    }

    fn note_success(&mut self) {
        self.is_told = false;
        self.pause = self.settings.rules.min_ttl;
        if !self.status.is_connected() {
            info!(provider = %self.settings.provider, "Name found");
            self.status.set_connected(true);
        }
    }

    fn note_failure(&mut self, error: &Miss) {
        self.status.lose();
        if self.is_told {
            debug!(provider = %self.settings.provider, %error, "Name still not found");
        } else {
            warn!(provider = %self.settings.provider, %error, "Name not found: going on with what is known, and trying again");
            self.is_told = true;
        }
    }
}
