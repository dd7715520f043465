//! The watcher: follows one Docker engine for as long as the program runs, whatever the engine does.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backoff::{self, Backoff};
use super::client::{Client, DockerError, resolve};
use super::container::Container;
use super::evaluate::Scope;
use super::event::Event;
use super::identity::Identity;
use super::own_project::OwnProject;
use super::tracker::{Action, Tracker};
use crate::change::Observed;
use crate::config::settings::{DockerSettings, Settings};
use crate::discovery::defaults::other_defaults;
use crate::discovery::status::DiscoveryStatus;
use crate::replica::ReplicaId;

/// How long the event stream may be silent before the engine is pinged. With the ping's own 3 s, a connection that
/// hangs is noticed after 6 s.
const IDLE: Duration = Duration::from_secs(3);
/// How soon to list again after one container could not be inspected.
const SOON: Duration = Duration::from_secs(1);

/// What verdicts are on.
const KIND: &str = "Container";

/// Follows one Docker engine and tells the registry what it sees.
#[derive(Debug)]
pub struct Watcher {
    status: Arc<DiscoveryStatus>,
    changes: mpsc::Sender<Observed>,
    settings: DockerSettings,
    newest: Option<watch::Receiver<Arc<Settings>>>,
    tracker: Tracker,
    backoff: Backoff,
    /// The failure that was logged last, so that an engine that stays away is not news each time.
    told: Option<String>,
    own_project: Arc<OwnProject>,
    has_looked_for_us: bool,
}

/// Why a connection is not followed any more.
enum End {
    Failed(DockerError),
    /// We are not who we were, not on the same networks, or of another project; or replicas are to be seen in another
    /// light.
    Rejoin,
    /// Nobody listens to the changes any more.
    Unheard,
}

impl From<DockerError> for End {
    fn from(error: DockerError) -> Self {
        Self::Failed(error)
    }
}

/// A question to the engine that is under way, if one is.
type Asked<T> = Option<BoxFuture<'static, Result<T, DockerError>>>;
/// The inspects under way.
type Inspects = FuturesUnordered<BoxFuture<'static, (ReplicaId, Result<Option<Container>, DockerError>)>>;

/// What was asked because of an event and is not answered yet.
#[derive(Default)]
struct Questions {
    inspects: Inspects,
    identity: Asked<Identity>,
}

/// Waits for the answer, for ever if nothing was asked. May be dropped and called again.
async fn answer<T>(asked: &mut Asked<T>) -> Result<T, DockerError> {
    let Some(question) = asked else { return pending().await };
    let answer = question.await;
    *asked = None;
    answer
}

impl Watcher {
    /// A watcher that has not connected yet. What it learns goes to `changes`, what it does to `status`; to call
    /// `status.set_synced()` is for whoever applies a `Reset`. All watchers share `own_project`.
    pub fn new(
        settings: DockerSettings,
        status: Arc<DiscoveryStatus>,
        changes: mpsc::Sender<Observed>,
        own_project: Arc<OwnProject>,
    ) -> Self {
        let tracker = Tracker::new(Scope { settings: settings.clone(), ..Scope::default() });
        Self {
            status,
            changes,
            settings,
            newest: None,
            tracker,
            backoff: Backoff::default(),
            told: None,
            own_project,
            has_looked_for_us: false,
        }
    }

    /// Lets it go by other defaults for replicas whenever the settings have others. It goes on with what else it has.
    pub fn with_defaults_of(mut self, newest: watch::Receiver<Arc<Settings>>) -> Self {
        self.newest = Some(newest);
        self
    }

    /// Follows the engine until `stop` (or until the receiver of the changes is gone). A connection that fails is
    /// made again, for ever; meanwhile the last truth stays.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let began = Instant::now();
            let Some(Err(end)) = stop.run_until_cancelled(self.follow()).await else { return };
            let error = match end {
                End::Failed(error) => error,
                End::Rejoin => continue,
                End::Unheard => return,
            };
            self.note_failure(&error);
            // One list is no proof of a good connection: behind some proxies the event stream ends at once.
            if began.elapsed() >= backoff::LONGEST {
                self.backoff = Backoff::default();
            }
            let longest = if error.is_absence() { backoff::LONGEST_WHILE_ABSENT } else { backoff::LONGEST };
            if stop.run_until_cancelled(sleep(self.backoff.next_delay(longest))).await.is_none() {
                return;
            }
        }
    }

    /// Subscribes, lists, follows: one connection, until it fails.
    async fn follow(&mut self) -> Result<Infallible, End> {
        let since = SystemTime::now();
        let client = Client::connect(&self.settings.host, self.settings.cert_path.as_deref()).await?;
        let mut own_project = self.own_project.follow();
        self.find_scope(&client, &mut own_project).await?;
        let mut events = pin!(client.events(since));
        let mut questions = Questions::default();
        let mut list = Some(self.ask_list(&client));
        let mut ping: Asked<()> = None;
        let mut resync_at = Instant::now() + self.settings.resync_interval;
        // Engines that were connected to together would go on to be listed together.
        let mut interval = self.settings.resync_interval.mul_f64(0.5 + fastrand::f64() / 2.0);
        let mut ping_at = Instant::now() + IDLE;
        // A list that was asked for before an inspect failed does not make up for it.
        let mut is_in_doubt = false;
        // Whether an event has come since the last list; before the first one, nothing can be missing.
        let mut has_heard = true;
        loop {
            let actions = tokio::select! {
                event = events.next() => {
                    ping_at = Instant::now() + IDLE;
                    has_heard = true;
                    self.on_event(event.ok_or(DockerError::StreamEnded)??)
                }
                Some((id, answer)) = questions.inspects.next() => match answer {
                    Ok(container) => self.tracker.on_inspected(&id, container),
                    Err(error) => {
                        self.note_failed_inspect(&id, &error);
                        resync_at = resync_at.min(Instant::now() + SOON);
                        is_in_doubt = true;
                        Vec::new()
                    }
                },
                defaults = other_defaults(&mut self.newest, &self.settings.defaults, |all| {
                    Some(&all.docker.iter().find(|docker| docker.provider == self.settings.provider)?.defaults)
                }) => {
                    self.settings.defaults = defaults;
                    return Err(End::Rejoin);
                }
                me = answer(&mut questions.identity) => {
                    if !self.tracker.is_me(&me?) {
                        return Err(End::Rejoin);
                    }
                    Vec::new()
                }
                Ok(()) = own_project.changed(), if self.settings.project.is_none() => return Err(End::Rejoin),
                rows = answer(&mut list) => {
                    let interval = mem::replace(&mut interval, self.settings.resync_interval);
                    resync_at = Instant::now() + if is_in_doubt { SOON.min(interval) } else { interval };
                    let before = self.considered_ids();
                    let actions = self.tracker.on_list(rows?, std::time::Instant::now());
                    self.perform(actions, &client, &mut questions).await?;
                    // A stream of a connection of its own can go silent while pings on others are answered.
                    if !mem::take(&mut has_heard) && before != self.considered_ids() {
                        return Err(DockerError::StreamDead.into());
                    }
                    Vec::new()
                }
                pong = answer(&mut ping) => {
                    pong?;
                    ping_at = Instant::now() + IDLE;
                    Vec::new()
                }
                () = sleep_until(resync_at), if list.is_none() => {
                    is_in_doubt = false;
                    list = Some(self.ask_list(&client));
                    Vec::new()
                }
                () = sleep_until(ping_at), if ping.is_none() => {
                    let client = client.clone();
                    ping = Some(async move { client.ping().await }.boxed());
                    Vec::new()
                }
            };
            self.perform(actions, &client, &mut questions).await?;
        }
    }

    fn considered_ids(&self) -> HashSet<ReplicaId> {
        self.status.considered().into_iter().map(|considered| considered.id).collect()
    }

    fn on_event(&mut self, event: Event) -> Vec<Action> {
        debug!(replica = %event.id, cause = ?event.kind, "Event received");
        self.status.events.fetch_add(1, Ordering::Relaxed);
        self.tracker.on_event(event, std::time::Instant::now())
    }

    fn ask_list(&mut self, client: &Client) -> BoxFuture<'static, Result<Vec<Container>, DockerError>> {
        self.tracker.list_asked();
        let client = client.clone();
        async move { client.list().await }.boxed()
    }

    /// Finds out who we are, which decides what is ours and how it is reached.
    async fn find_scope(
        &mut self,
        client: &Client,
        own_project: &mut watch::Receiver<Option<Arc<str>>>,
    ) -> Result<(), DockerError> {
        let me = Identity::find(client).await?;
        self.own_project.tell(me.project.as_deref());
        let host = match &self.settings.published_at {
            // Beside us, wherever that is.
            Some(_) if me.id.is_some() => None,
            Some(host) => Some(resolve(host).await?),
            None => None,
        };
        let scope =
            Scope { settings: self.settings.clone(), me, own_project: own_project.borrow_and_update().clone(), host };
        let is_last = !mem::replace(&mut self.has_looked_for_us, true) && self.own_project.was_last_to_be_asked();
        if is_last && scope.project().is_none() {
            warn!(
                service = %self.settings.service,
                "No Compose project is known, so only containers labelled evenkeel.enable=true are balanced: say --project"
            );
        }
        self.tracker.reconnected(scope);
        Ok(())
    }

    async fn perform(&mut self, actions: Vec<Action>, client: &Client, questions: &mut Questions) -> Result<(), End> {
        for action in actions {
            let client = client.clone();
            match action {
                Action::Apply(observed) => self.changes.send(observed).await.map_err(|_| End::Unheard)?,
                Action::Consider(considered) => self.status.note(considered, KIND),
                Action::ConsiderAll(all) => {
                    self.status.note_all(all, KIND);
                    self.note_success();
                }
                Action::Forget(id) => self.status.forget(&id),
                Action::Inspect(id) => {
                    questions.inspects.push(async move { (id.clone(), client.inspect(id.as_str()).await) }.boxed());
                }
                // Who we are is news only if it changed: after a reconnect old events may be told again.
                Action::FindOurselves => {
                    questions.identity = Some(async move { Identity::find(&client).await }.boxed());
                }
            }
        }
        Ok(())
    }

    fn note_success(&mut self) {
        self.told = None;
        if !self.status.is_connected() {
            info!(provider = %self.settings.provider, "Docker connected");
            self.status.set_connected(true);
        }
    }

    fn note_failure(&mut self, error: &DockerError) {
        self.status.lose();
        self.count(error);
        let text = error.to_string();
        if self.told.as_ref() == Some(&text) {
            debug!(provider = %self.settings.provider, %error, "Docker still not connected");
        } else {
            warn!(provider = %self.settings.provider, %error, "Docker not connected: going on with what is known, and trying again");
            self.told = Some(text);
        }
    }

    fn note_failed_inspect(&mut self, id: &ReplicaId, error: &DockerError) {
        warn!(replica = %id, %error, "Container could not be inspected");
        self.count(error);
        self.tracker.on_inspect_failed(id);
    }

    fn count(&self, error: &DockerError) {
        if matches!(error, DockerError::Undecodable(_)) {
            self.status.decode_errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use integration_tests::{ContainerSpec, FakeEngine};

    use super::*;
    use crate::change::Change;
    use crate::discovery::docker::fixtures::settings;
    use crate::provider::Provider;

    #[tokio::test(start_paused = true)]
    async fn a_missing_socket_is_tried_again_until_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let host = format!("unix://{}/docker.sock", dir.path().display());
        let (status, (changes, mut receiver)) = (Arc::new(DiscoveryStatus::new(Provider::DOCKER)), mpsc::channel(1));
        let stop = CancellationToken::new();
        let watcher =
            Watcher::new(DockerSettings { host, ..settings() }, Arc::clone(&status), changes, OwnProject::new(1));
        let running = tokio::spawn(watcher.run(stop.clone()));
        while status.reconnects.load(Ordering::Relaxed) < 10 {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(!status.is_connected());
        stop.cancel();
        running.await.unwrap();
        assert!(receiver.recv().await.is_none(), "losing Docker is no change");
    }

    #[tokio::test]
    async fn the_project_that_another_engine_tells_is_looked_after_here_too() {
        let engine = FakeEngine::start();
        let spec = ContainerSpec::compose("shop", "gateway", 1).network("shop_default", Ipv4Addr::new(10, 0, 0, 1));
        engine.run(spec.expose(3001));
        let own_project = OwnProject::new(2);
        let (status, (changes, mut receiver)) = (Arc::new(DiscoveryStatus::new(Provider::DOCKER)), mpsc::channel(1));
        let settings = DockerSettings { host: engine.host(), ..settings() };
        let watcher = Watcher::new(settings, status, changes, Arc::clone(&own_project));
        let stop = CancellationToken::new();
        let running = tokio::spawn(watcher.run(stop.clone()));
        let mut replicas = async || match receiver.recv().await.unwrap().change {
            Change::Reset { replicas, .. } => replicas.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(replicas().await, 0, "whose it is nobody knows");
        own_project.tell(Some("shop"));
        assert_eq!(replicas().await, 1);
        stop.cancel();
        running.await.unwrap();
    }
}
