//! The watcher: follows a Swarm through one of its managers for as long as the program runs, whatever they do.

mod line;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::line::{Line, List, Topic, polled, pong};
use super::evaluate::Scope;
use super::manager::Manager;
use super::tracker::{Action, Tracker};
use crate::change::Observed;
use crate::config::settings::{ManagerHost, Settings, SwarmSettings};
use crate::discovery::defaults::other_defaults;
use crate::discovery::docker::backoff::{self, Backoff};
use crate::discovery::docker::client::DockerError;
use crate::discovery::docker::event::{Event, Message, MessageKind};
use crate::discovery::docker::identity::Identity;
use crate::discovery::status::DiscoveryStatus;

/// How long the event stream may be silent before the manager is pinged.
const IDLE: Duration = Duration::from_secs(3);
/// How long an event may be on its way after a list that shows what it tells.
const BELATED: Duration = Duration::from_secs(3);
/// The service that a task's container is of, in its labels and so in its events.
const SERVICE: &str = "com.docker.swarm.service.id";

/// What verdicts are on.
const KIND: &str = "Task";

/// Follows one Swarm and tells the registry what it sees.
#[derive(Debug)]
pub struct Watcher {
    status: Arc<DiscoveryStatus>,
    changes: mpsc::Sender<Observed>,
    settings: SwarmSettings,
    newest: Option<watch::Receiver<Arc<Settings>>>,
    tracker: Tracker,
    backoff: Backoff,
    /// Who we are, once a manager has told.
    me: Identity,
    /// The failure of each manager that was logged last, so that one that stays away is not news each time.
    told: HashMap<String, String>,
    was_asked_for_stack: bool,
}

/// Why a connection is not followed any more.
enum End {
    Failed(DockerError),
    /// We are not on the networks that we were on.
    Rejoin,
    /// Nobody listens to the changes any more.
    Unheard,
}

impl From<DockerError> for End {
    fn from(error: DockerError) -> Self {
        Self::Failed(error)
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

impl Watcher {
    /// A watcher that has not connected yet. What it learns goes to `changes`, what it does to `status`; to call
    /// `status.set_synced()` is for whoever applies a `Reset`.
    pub fn new(settings: SwarmSettings, status: Arc<DiscoveryStatus>, changes: mpsc::Sender<Observed>) -> Self {
        let tracker = Tracker::new(Scope { settings: settings.clone(), me: Identity::default() });
        let (newest, backoff, me, told) = Default::default();
        Self { status, changes, settings, newest, tracker, backoff, me, told, was_asked_for_stack: false }
    }

    /// Lets it go by other defaults for replicas whenever the settings have others. It goes on with what else it has.
    pub fn with_defaults_of(mut self, newest: watch::Receiver<Arc<Settings>>) -> Self {
        self.newest = Some(newest);
        self
    }

    /// Follows the Swarm until `stop` (or until the receiver of the changes is gone). When a manager is lost, the next
    /// one is asked at once, after the last the first again; when all are, again and again, for ever. Meanwhile the last
    /// truth stays.
    pub async fn run(mut self, stop: CancellationToken) {
        let hosts = self.settings.hosts.clone();
        let (mut turn, mut failed_in_a_row) = (0, 0);
        while let Some(manager) = hosts.get(turn % hosts.len().max(1)) {
            let began = Instant::now();
            let Some(Err(end)) = stop.run_until_cancelled(self.follow(manager)).await else { return };
            let error = match end {
                End::Failed(error) => error,
                End::Rejoin => continue,
                End::Unheard => return,
            };
            failed_in_a_row = if self.status.is_connected() { 1 } else { failed_in_a_row + 1 };
            turn += 1;
            self.note_failure(&manager.host, &error);
            // One list is no proof of a good connection.
            if began.elapsed() >= backoff::LONGEST {
                self.backoff = Backoff::default();
            }
            if failed_in_a_row % hosts.len() != 0 {
                continue;
            }
            let longest = if error.is_absence() { backoff::LONGEST_WHILE_ABSENT } else { backoff::LONGEST };
            if stop.run_until_cancelled(sleep(self.backoff.next_delay(longest))).await.is_none() {
                return;
            }
        }
    }

    /// Subscribes, lists, follows: one connection to one manager, until it fails.
    async fn follow(&mut self, manager: &ManagerHost) -> Result<Infallible, End> {
        let since = SystemTime::now();
        let mut line = Line::new(Manager::connect(manager).await?);
        let actions = self.find_scope(&line.manager).await?;
        self.perform(actions).await?;
        let mut events = pin!(line.manager.events(since));
        for topic in [Topic::Services, Topic::Nodes, Topic::Containers] {
            line.ask(topic, &mut self.tracker);
        }
        let mut resync_at = Instant::now() + self.settings.resync_interval;
        let mut ping_at = Instant::now() + IDLE;
        loop {
            let turn = line.turn(&self.tracker);
            let poll_at = turn.as_ref().map(|turn| Instant::from_std(turn.at));
            let is_nobody_there = turn.is_none() && line.poll.is_none() && line.lists.asked.is_empty();
            if line.is_whole_due && is_nobody_there {
                line.is_whole_due = false;
                self.tell_all(&manager.host).await?;
            }
            let actions = tokio::select! {
                event = events.next() => {
                    ping_at = Instant::now() + IDLE;
                    self.on_message(&event.ok_or(DockerError::StreamEnded)??, &mut line)
                }
                Some(list) = line.lists.answers.next() => self.on_list(list?, &mut line)?,
                (turn, question, began, answer) = polled(&mut line.poll) => {
                    self.tracker.note_answer(&turn, began.into_std(), now());
                    match answer {
                        Err(DockerError::NotFound(_)) => {
                            // One of the services has gone in between.
                            line.ask(Topic::Services, &mut self.tracker);
                            Vec::new()
                        }
                        answer => {
                            let actions = self.tracker.on_answer(&turn, &question, answer?, now());
                            if turn.is_all && std::mem::take(&mut line.is_whole_due) {
                                self.tell_all(&manager.host).await?;
                                continue;
                            }
                            actions
                        }
                    }
                }
                defaults = other_defaults(&mut self.newest, &self.settings.defaults, |all| Some(&all.swarm.as_ref()?.defaults)) => {
                    self.settings.defaults = defaults;
                    self.tracker.reconnected(self.scope(), now())
                }
                answer = pong(&mut line.ping) => {
                    answer?;
                    ping_at = Instant::now() + IDLE;
                    Vec::new()
                }
                () = until(poll_at) => {
                    if let Some(turn) = turn {
                        line.poll(turn, &self.tracker);
                    }
                    Vec::new()
                }
                () = sleep_until(resync_at) => {
                    resync_at = Instant::now() + self.settings.resync_interval;
                    line.is_whole_due = true;
                    for topic in [Topic::Services, Topic::Nodes, Topic::Containers, Topic::Ourselves] {
                        line.ask(topic, &mut self.tracker);
                    }
                    Vec::new()
                }
                () = until(line.deaf_at) => return Err(DockerError::StreamDead.into()),
                () = sleep_until(ping_at), if line.ping.is_none() => {
                    let manager = line.manager.clone();
                    line.ping = Some(async move { manager.ping().await }.boxed());
                    Vec::new()
                }
            };
            self.perform(actions).await?;
        }
    }

    fn on_message(&mut self, message: &Message, line: &mut Line) -> Vec<Action> {
        debug!(replica = %message.actor, cause = %message.action, "Event received");
        self.status.events.fetch_add(1, Ordering::Relaxed);
        let at = now();
        match message.kind {
            MessageKind::Service => {
                (line.has_heard, line.deaf_at) = (true, None);
                self.tracker.on_ring(Some(&message.actor), at);
                line.ask(Topic::Services, &mut self.tracker);
                Vec::new()
            }
            MessageKind::Node => {
                self.tracker.on_ring(None, at);
                line.ask(Topic::Nodes, &mut self.tracker);
                Vec::new()
            }
            MessageKind::Container => {
                let event = Event::of_container(&message.actor, &message.action, message.attribute("signal"));
                let healthy = message.action.split_once(": ").map(|(_, health)| health == "healthy");
                let service = message.attribute(SERVICE);
                let known = event.zip(service);
                known
                    .map(|(event, service)| self.tracker.on_container(&event, healthy, service, at))
                    .unwrap_or_default()
            }
            MessageKind::Network => Vec::new(),
        }
    }

    fn on_list(&mut self, list: List, line: &mut Line) -> Result<Vec<Action>, End> {
        let (topic, actions) = match list {
            List::Services(services) => {
                // A stream of a connection of its own can go silent while lists on others are answered.
                if !std::mem::take(&mut line.has_heard) && self.tracker.is_news(&services) {
                    line.deaf_at = Some(Instant::now() + BELATED);
                }
                (Topic::Services, self.tracker.on_services(services, now()))
            }
            List::Nodes(nodes) => (Topic::Nodes, self.tracker.on_nodes(nodes, now())),
            List::Containers(containers) => (Topic::Containers, self.tracker.on_containers(containers, now())),
            // What another manager knew of us holds.
            List::Ourselves(me) if me.id.is_some() && me != self.me => return Err(End::Rejoin),
            List::Ourselves(_) => (Topic::Ourselves, Vec::new()),
        };
        line.answered(topic, &mut self.tracker);
        Ok(actions)
    }

    /// Finds out who we are, which decides what is ours and how it is reached.
    async fn find_scope(&mut self, manager: &Manager) -> Result<Vec<Action>, DockerError> {
        let me = manager.find_ourselves().await?;
        if me.id.is_some() {
            self.me = me;
        }
        let scope = self.scope();
        if scope.stack().is_none() && !self.was_asked_for_stack {
            self.was_asked_for_stack = true;
            let service = &self.settings.service;
            info!(%service, "No stack is known: without labels, only the service of just this name is balanced; --project names a stack");
        }
        Ok(self.tracker.reconnected(scope, now()))
    }

    fn scope(&self) -> Scope {
        Scope { settings: self.settings.clone(), me: self.me.clone() }
    }

    /// Tells the registry and people everything.
    async fn tell_all(&mut self, host: &str) -> Result<(), End> {
        let actions = self.tracker.whole(now());
        self.perform(actions).await?;
        self.told.clear();
        if !self.status.is_connected() {
            info!(provider = %self.settings.provider, addr = host, "Swarm connected");
            self.status.set_connected(true);
        }
        Ok(())
    }

    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), End> {
        for action in actions {
            match action {
                Action::Apply(observed) => self.changes.send(observed).await.map_err(|_| End::Unheard)?,
                Action::Consider(considered) => self.status.note(considered, KIND),
                Action::ConsiderAll(all) => self.status.note_all(all, KIND),
                Action::Forget(id) => self.status.forget(&id),
            }
        }
        Ok(())
    }

    fn note_failure(&mut self, host: &str, error: &DockerError) {
        self.status.lose();
        if matches!(error, DockerError::Undecodable(_)) {
            self.status.decode_errors.fetch_add(1, Ordering::Relaxed);
        }
        let text = error.to_string();
        if self.told.get(host) == Some(&text) {
            debug!(provider = %self.settings.provider, addr = host, %error, "Swarm still not connected");
        } else {
            warn!(provider = %self.settings.provider, addr = host, %error, "Swarm not connected: going on with what is known, and trying again");
            self.told.insert(host.to_owned(), text);
        }
    }
}
