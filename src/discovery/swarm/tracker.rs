//! What each answer and each event comes to: a state machine without I/O, so that every order of arrival is a test.
//!
//! The manager is asked for the tasks that it wants to run, and what has become of those that were among them. The rules:
//!
//! - A task that is wanted no more drains at once: its signal comes seconds later.
//! - A task that has ended, or that nobody knows any more, is removed.
//! - Nothing ends a drain, not even a manager that lags behind the one before.
//! - What happens to a container on the manager's own node acts at once, from the event alone. The manager hears of it
//!   later than we do: until it does, its answers do not bring back who was seen to end.
//! - A node that is down says nothing of its tasks: probes do. The managers want others in their place soon enough.

mod known;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use self::known::Action;
use self::known::{Known, apply, difference};
use super::evaluate::{Local, Scope, evaluate};
use super::manager::{Answer, Question};
use super::model::{Node, Service, Task, TaskState};
use super::pace::{Intervals, Pace, Turn};
use crate::change::Change;
use crate::discovery::docker::container::{Container, RunState};
use crate::discovery::docker::event::{Event, EventKind};
use crate::discovery::docker::signal::Signal;
use crate::discovery::verdict::Verdict;
use crate::replica::ReplicaId;

/// For how long a manager may go on saying of a container which we saw end that it runs.
const LAG: Duration = Duration::from_secs(10);
/// From so many new or changed replicas on, they are told in one go: each change makes a new list of all.
const MANY: usize = 16;

/// Everything that is known of the services that are our business.
#[derive(Debug)]
pub(super) struct Tracker {
    scope: Scope,
    pace: Pace,
    services: HashMap<String, Arc<Service>>,
    nodes: HashMap<String, Node>,
    /// By the task's id.
    tasks: HashMap<String, Known>,
    /// Whose container is whose.
    containers: HashMap<ReplicaId, String>,
    /// What the manager's own node tells of its containers, where it tells anything.
    local: HashMap<ReplicaId, Local>,
    /// Whose end was seen there, and when.
    ended: HashMap<ReplicaId, Instant>,
    /// While those containers are being listed: whom an event touched since.
    touched: Option<HashSet<ReplicaId>>,
}

impl Tracker {
    pub(super) fn new(scope: Scope) -> Self {
        let intervals = Intervals { poll: scope.settings.poll, idle: scope.settings.idle_poll };
        let (services, nodes, tasks, containers, local, ended) = Default::default();
        let pace = Pace::new(intervals);
        Self { scope, pace, services, nodes, tasks, containers, local, ended, touched: None }
    }

    /// A new connection, maybe to another manager: everybody is to be asked about.
    pub(super) fn reconnected(&mut self, scope: Scope, at: Instant) -> Vec<Action> {
        self.scope = scope;
        self.touched = None;
        self.pace.ring_all(at);
        let actions = self.judge_anew(at, |_| true);
        self.in_one_go_if_many(actions, at)
    }

    /// Whether these are not the services that were listed last, as far as they are our business.
    pub(super) fn is_news(&self, services: &[Service]) -> bool {
        let ours = || services.iter().filter(|service| self.scope.concerns(service));
        let is_known = |service: &Service| self.services.get(&service.id).is_some_and(|known| **known == *service);
        ours().count() != self.services.len() || !ours().all(is_known)
    }

    /// Whom to ask for next and when.
    pub(super) fn turn(&self, at: Instant) -> Option<Turn> {
        self.pace.turn(at, self.tasks.values().any(|known| !self.services.contains_key(&known.task.service)))
    }

    /// What to ask for, for these services.
    pub(super) fn question(&self, turn: &Turn) -> Question {
        let is_asked = |known: &Known| turn.services.binary_search(&known.task.service).is_ok();
        let (mut expected, mut leaving) = (HashSet::new(), Vec::new());
        for (id, known) in &self.tasks {
            // Of a service that is gone no list tells any more.
            if known.task.is_leaving() || !self.services.contains_key(&known.task.service) {
                leaving.push(id.clone());
            } else if is_asked(known) {
                expected.insert(id.clone());
            }
        }
        Question { services: turn.services.clone(), expected, leaving }
    }

    /// The answer to the question that was asked at this turn.
    pub(super) fn on_answer(&mut self, turn: &Turn, asked: &Question, answer: Answer, at: Instant) -> Vec<Action> {
        let mut actions = self.doubt_old_ends(at);
        let mut gone: HashSet<&String> = asked.expected.iter().chain(&asked.leaving).collect();
        let rows = answer.wanted.iter().chain(&answer.others);
        rows.for_each(|task| _ = gone.remove(&task.id));
        let gone: Vec<_> = gone.into_iter().cloned().collect();
        for task in answer.wanted.into_iter().chain(answer.others) {
            actions.extend(self.see(task, at));
        }
        for id in gone {
            actions.extend(self.end(&id, at));
        }
        self.judge_settled(turn);
        self.in_one_go_if_many(actions, at)
    }

    /// The list of all services.
    pub(super) fn on_services(&mut self, services: Vec<Service>, at: Instant) -> Vec<Action> {
        let (ours, others): (Vec<_>, Vec<_>) = services.into_iter().partition(|service| self.scope.concerns(service));
        let ours: HashMap<_, _> = ours.into_iter().map(|service| (service.id.clone(), service)).collect();
        // They are there, but nothing says any more that they are ours.
        let others: HashSet<_> = others.into_iter().map(|service| service.id).collect();
        let theirs = self.tasks.iter().filter(|(_, known)| others.contains(&known.task.service));
        let theirs: Vec<_> = theirs.map(|(id, _)| id.clone()).collect();
        let mut actions: Vec<_> = theirs.iter().flat_map(|id| self.end(id, at)).collect();
        let mut stale: HashSet<_> = self.services.keys().filter(|id| !ours.contains_key(*id)).cloned().collect();
        self.services.retain(|id, _| ours.contains_key(id));
        self.pace.retain(|id| ours.contains_key(id));
        for (id, service) in ours {
            let known = self.services.get(&id);
            if known.is_none_or(|known| **known != service) {
                self.pace.ring(&id, at);
                if known.is_none_or(|known| !known.is_like(&service)) {
                    stale.insert(id.clone());
                }
                self.services.insert(id, Arc::new(service));
            }
        }
        actions.extend(self.judge_anew(at, |known| stale.contains(&known.task.service)));
        self.in_one_go_if_many(actions, at)
    }

    /// The list of all nodes.
    pub(super) fn on_nodes(&mut self, nodes: Vec<Node>, at: Instant) -> Vec<Action> {
        let nodes: HashMap<_, _> = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        if nodes == self.nodes {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.nodes, nodes);
        self.pace.ring_all(at);
        let has_changed = |id: &String, now: &HashMap<String, Node>| before.get(id) != now.get(id);
        let stale: HashSet<_> = before.keys().chain(self.nodes.keys()).cloned().collect();
        let stale: HashSet<_> = stale.into_iter().filter(|id| has_changed(id, &self.nodes)).collect();
        let actions = self.judge_anew(at, |known| known.task.node.as_ref().is_some_and(|node| stale.contains(node)));
        self.in_one_go_if_many(actions, at)
    }

    /// An event of type `service` or `node` came: it says neither what will come of it nor when.
    pub(super) fn on_ring(&mut self, service: Option<&str>, at: Instant) {
        match service {
            None => self.pace.ring_all(at),
            Some(id) if self.services.contains_key(id) => self.pace.ring(id, at),
            // It will be heard of when it is listed.
            Some(_) => {}
        }
    }

    /// The containers of the manager's own node are being listed, now.
    pub(super) fn containers_asked(&mut self) {
        self.touched = Some(HashSet::new());
    }

    /// That list was answered: who is paused or ailing, of those that no event touched since.
    pub(super) fn on_containers(&mut self, containers: Vec<Container>, at: Instant) -> Vec<Action> {
        let touched = self.touched.take().unwrap_or_default();
        let mut before = std::mem::take(&mut self.local);
        let mut stale = HashSet::new();
        for id in before.keys().filter(|id| touched.contains(*id)).cloned().collect::<Vec<_>>() {
            self.local.extend(before.remove(&id).map(|local| (id, local)));
        }
        for container in containers.into_iter().filter(|container| !touched.contains(&container.id)) {
            let was = before.remove(&container.id).unwrap_or_default();
            let is_paused = container.run_state == RunState::Paused;
            let is_ailing = container.run_state == RunState::Unhealthy;
            let local = Local { is_paused, is_ailing, ..was };
            if local != was {
                stale.insert(container.id.clone());
            }
            self.local.insert(container.id, local);
        }
        // These are on another node now that there is another manager, or gone. Who was told to stop stays told.
        for (id, local) in before.into_iter().filter(|(id, _)| self.containers.contains_key(id)) {
            stale.insert(id.clone());
            self.local.insert(id, Local { is_told: local.is_told, ..Local::default() });
        }
        self.judge_anew(at, |known| known.task.container.as_ref().is_some_and(|id| stale.contains(id)))
    }

    /// Something happened to a container of the manager's own node, which is of a task of this service.
    pub(super) fn on_container(
        &mut self,
        event: &Event,
        healthy: Option<bool>,
        service: &str,
        at: Instant,
    ) -> Vec<Action> {
        let Event { id, kind } = event;
        if !self.services.contains_key(service) && !self.containers.contains_key(id) {
            return Vec::new();
        }
        if let Some(touched) = &mut self.touched {
            touched.insert(id.clone());
        }
        // What the manager makes of it is to be heard soon.
        self.on_ring(Some(service), at);
        match kind {
            EventKind::Kill(signal) if !self.is_stop_signal(id, *signal) => return Vec::new(),
            EventKind::Kill(_) => self.local.entry(id.clone()).or_default().is_told = true,
            EventKind::Pause => self.local.entry(id.clone()).or_default().is_paused = true,
            EventKind::Unpause => self.local.entry(id.clone()).or_default().is_paused = false,
            EventKind::Health => self.local.entry(id.clone()).or_default().is_ailing = healthy == Some(false),
            EventKind::Start => {
                self.ended.remove(id);
                self.local.remove(id);
            }
            EventKind::Die | EventKind::Destroy => {
                self.ended.insert(id.clone(), at);
                self.local.remove(id);
            }
            EventKind::Rename | EventKind::Connect | EventKind::Disconnect(_) => return Vec::new(),
        }
        let task = self.containers.get(id).cloned();
        task.map(|task| self.judge_anew_one(&task, at)).unwrap_or_default()
    }

    /// Everything that is known, for a registry and for people that may know something else.
    pub(super) fn whole(&self, at: Instant) -> Vec<Action> {
        let replicas = self.tasks.values().filter_map(|known| known.sighting().cloned()).collect();
        let considered = self.tasks.values().filter_map(|known| known.considered().cloned()).collect();
        let provider = self.scope.settings.provider.clone();
        vec![apply(Change::Reset { provider, replicas }, at), Action::ConsiderAll(considered)]
    }

    fn is_stop_signal(&self, id: &ReplicaId, signal: Signal) -> bool {
        let known = self.containers.get(id).and_then(|task| self.tasks.get(task));
        let stop_signal = known.map_or(Signal::TERM, |known| known.task.stop_signal);
        signal == Signal::KILL || signal == stop_signal
    }

    /// If the manager still says that a container runs which we saw end, it knows better.
    fn doubt_old_ends(&mut self, at: Instant) -> Vec<Action> {
        let old = self.ended.extract_if(|_, ended| at.saturating_duration_since(*ended) >= LAG);
        let old: HashSet<_> = old.map(|(id, _)| id).collect();
        if old.is_empty() {
            return Vec::new();
        }
        self.judge_anew(at, |known| known.task.container.as_ref().is_some_and(|id| old.contains(id)))
    }

    /// A row of an answer.
    fn see(&mut self, mut task: Task, at: Instant) -> Vec<Action> {
        let before = self.tasks.get(&task.id);
        if before.is_some_and(|known| known.task.version == task.version && task.version > 0) {
            return Vec::new();
        }
        let service = self.services.get(&task.service).or(before.map(|known| &known.service));
        let Some(service) = service.cloned() else { return Vec::new() };
        self.pace.note_change(&task.service, at);
        if task.state.is_ended() {
            return self.end(&task.id, at);
        }
        if let Some(known) = before {
            // A manager may lag behind the one that told us.
            if known.task.is_leaving() && !task.is_leaving() {
                task.desired = known.task.desired.clone();
            }
            if known.task.container.is_some() && task.container.is_none() {
                task.container.clone_from(&known.task.container);
            }
        } else if task.is_leaving() {
            // It was told to stop before we heard of it, and never had a request of ours.
            return Vec::new();
        }
        self.settle(task, service, at)
    }

    /// A task has ended, or nobody knows of it any more.
    fn end(&mut self, id: &str, at: Instant) -> Vec<Action> {
        let Some(known) = self.tasks.remove(id) else { return Vec::new() };
        self.pace.note_change(&known.task.service, at);
        if let Some(container) = &known.task.container {
            self.containers.remove(container);
            self.local.remove(container);
        }
        difference(Some(&known), None, &self.scope.settings.provider, at)
    }

    /// Judges a task as it is now, and says what is new.
    fn settle(&mut self, task: Task, service: Arc<Service>, at: Instant) -> Vec<Action> {
        let id = task.id.clone();
        let node = task.node.as_ref().and_then(|node| self.nodes.get(node));
        let container = task.container.as_ref();
        let local = container.and_then(|container| self.local.get(container)).copied().unwrap_or_default();
        let mut evaluation = evaluate(&task, &service, node, local, &self.scope);
        if let Some(evaluation) = &mut evaluation
            && container.is_some_and(|container| self.ended.contains_key(container))
        {
            evaluation.sighting = None;
            evaluation.considered.verdict = Verdict::NotRunning { state: "exited".to_owned() };
        }
        if let Some(container) = container {
            self.containers.insert(container.clone(), id.clone());
        }
        let before = self.tasks.remove(&id);
        let now = Known { task, service, evaluation };
        let actions = difference(before.as_ref(), Some(&now), &self.scope.settings.provider, at);
        self.tasks.insert(id, now);
        actions
    }

    fn judge_anew_one(&mut self, id: &str, at: Instant) -> Vec<Action> {
        let Some(known) = self.tasks.get(id) else { return Vec::new() };
        let (mut task, mut service) = (known.task.clone(), Arc::clone(&known.service));
        match self.services.get(&task.service) {
            Some(now) => service = Arc::clone(now),
            // Whose service is gone is not wanted any more.
            None if !task.is_leaving() => task.desired = TaskState::Ended("remove".to_owned()),
            None => {}
        }
        self.settle(task, service, at)
    }

    fn judge_anew(&mut self, at: Instant, is_stale: impl Fn(&Known) -> bool) -> Vec<Action> {
        let stale = self.tasks.iter().filter(|(_, known)| is_stale(known));
        let stale: Vec<_> = stale.map(|(id, _)| id.clone()).collect();
        stale.into_iter().flat_map(|id| self.judge_anew_one(&id, at)).collect()
    }

    /// Many new facts in one: the registry makes a service's list once.
    fn in_one_go_if_many(&self, actions: Vec<Action>, at: Instant) -> Vec<Action> {
        let is_change = |action: &&Action| matches!(action, Action::Apply(_));
        if actions.iter().filter(is_change).count() < MANY { actions } else { self.whole(at) }
    }

    /// Whether the services of this turn have what they should, and nothing that they should not.
    fn judge_settled(&mut self, turn: &Turn) {
        let (mut wanted, mut restless): (HashMap<&str, u64>, HashSet<&str>) = Default::default();
        let mut starting = HashSet::new();
        for Known { task, .. } in self.tasks.values() {
            let service = task.service.as_str();
            let node = task.node.as_ref().and_then(|node| self.nodes.get(node));
            let is_settled = match task.is_leaving() {
                // As long as the node is away, its tasks are not told that they are to end.
                true => node.is_some_and(|node| !node.is_up),
                false => {
                    *wanted.entry(service).or_default() += 1;
                    if task.state == TaskState::Starting {
                        starting.insert(service);
                    }
                    task.state == task.desired && node.is_none_or(|node| node.is_up && node.may_run)
                }
            };
            if !is_settled {
                restless.insert(service);
            }
        }
        for id in &turn.services {
            let Some(service) = self.services.get(id) else { continue };
            let has_enough = service.wanted.is_none_or(|count| wanted.get(id.as_str()).copied().unwrap_or(0) == count);
            let is_settled = has_enough && !service.is_updating && !restless.contains(id.as_str());
            self.pace.set_settled(id, is_settled, starting.contains(id.as_str()));
        }
    }

    /// A question that was asked at this turn was answered.
    pub(super) fn note_answer(&mut self, turn: &Turn, asked: Instant, at: Instant) {
        self.pace.note_answer(turn, asked, at);
    }
}

#[cfg(test)]
mod tests;
