//! What each event, inspect and list comes to: a state machine without I/O, so that every order of arrival is a test.
//!
//! Three things arrive independently of each other, and any of them may be out of date when it does. The rules:
//!
//! - What takes a replica out (`kill`, `pause`, `die`, `disconnect`) acts at once, from the event alone.
//! - What brings one in (`start`, `unpause`, …) is a doorbell: one inspect of that container, then judge.
//! - An inspect that a later event overtook is void, and is asked again unless the container is gone.
//! - So is a row of a list, for the containers that an event touched since the list was asked for.
//! - A container that was told to stop still lists and inspects as running: it is remembered, by id, until `die` or
//!   until it turns out to be another run.
//! - A list may show a container as running for a moment after its `die`: such a row is not believed but inspected.

mod known;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use self::known::Known;
use super::container::{Container, Run, RunState};
use super::evaluate::{Scope, evaluate};
use super::event::{Event, EventKind};
use super::identity::Identity;
use super::signal::Signal;
use crate::change::{Change, Observed};
use crate::discovery::verdict::Considered;
use crate::provider::Provider;
use crate::replica::{Lifecycle, ReplicaId};

/// What the watcher has to do, in this order.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Tell the registry.
    Apply(Observed),
    /// Tell people the verdict on one container,
    Consider(Considered),
    /// or on all of them.
    ConsiderAll(Vec<Considered>),
    /// Drop the verdict on a container that is gone.
    Forget(ReplicaId),
    /// Inspect this container.
    Inspect(ReplicaId),
    /// Find out whether our own networks changed.
    FindOurselves,
}

/// Everything that is known of the containers that are our business.
#[derive(Debug)]
pub(super) struct Tracker {
    scope: Scope,
    known: HashMap<ReplicaId, Known>,
    /// Who was told to stop, and in which run.
    draining: HashMap<ReplicaId, Run>,
    /// Signals that may have been the stop signal of a container whose stop signal we do not know, and the run in which
    /// they were sent.
    undecided: HashMap<ReplicaId, (Run, Vec<Signal>)>,
    /// Who ended, until a `start` or a list without it.
    ended: HashSet<ReplicaId>,
    /// The inspects under way.
    asked: HashMap<ReplicaId, Asked>,
    /// While a list is under way: the containers that an event touched since.
    touched: Option<HashSet<ReplicaId>>,
}

/// An inspect under way.
#[derive(Debug)]
struct Asked {
    /// When the event arrived that it is about.
    at: Instant,
    overtaken: Overtaken,
}

#[derive(Debug, PartialEq, Eq)]
enum Overtaken {
    No,
    /// By an event that needs a newer answer.
    ByNews,
    /// By the container's end.
    ByEnd,
}

impl Tracker {
    pub(super) fn new(scope: Scope) -> Self {
        let (known, draining, undecided, ended, asked) = Default::default();
        Self { scope, known, draining, undecided, ended, asked, touched: None }
    }

    /// A new connection: what was under way on the old one will not be answered any more.
    pub(super) fn reconnected(&mut self, scope: Scope) {
        self.scope = scope;
        // Nobody could tell the run that was told from the next.
        self.draining.retain(|_, run| !run.is_unknown());
        self.undecided.retain(|_, (run, _)| !run.is_unknown());
        self.asked.clear();
        self.touched = None;
    }

    /// Whether this is who we were when the connection was made.
    pub(super) fn is_me(&self, me: &Identity) -> bool {
        self.scope.me == *me
    }

    /// A list is being asked for, now.
    pub(super) fn list_asked(&mut self) {
        self.touched = Some(HashSet::new());
    }

    /// An event arrived.
    pub(super) fn on_event(&mut self, event: Event, at: Instant) -> Vec<Action> {
        let Event { id, kind } = event;
        if matches!(kind, EventKind::Connect | EventKind::Disconnect(_)) && self.scope.me.is_placed_by(&id) {
            return vec![Action::FindOurselves];
        }
        if self.scope.me.id.as_ref() == Some(&id) {
            return Vec::new();
        }
        match kind {
            EventKind::Kill(signal) => self.on_kill(id, signal, at),
            EventKind::Die | EventKind::Destroy => self.on_end(&id, at),
            EventKind::Pause => self.amend(id, at, |container| container.run_state = RunState::Paused),
            EventKind::Disconnect(network) => self.amend(id, at, |container| {
                container.networks.remove(&network);
            }),
            // A container joins its networks before it starts: for one that we do not know, `start` will ring.
            EventKind::Connect if !self.is_watched(&id) => Vec::new(),
            EventKind::Start => {
                // A new run was told nothing yet, even if the end of the last one was missed.
                self.draining.remove(&id);
                self.undecided.remove(&id);
                self.ended.remove(&id);
                self.ask_anew(id, at)
            }
            EventKind::Connect | EventKind::Unpause | EventKind::Rename | EventKind::Health => self.ask_anew(id, at),
        }
    }

    /// The inspect of a container was answered; `None`: there is no such container.
    pub(super) fn on_inspected(&mut self, id: &ReplicaId, answer: Option<Container>) -> Vec<Action> {
        let Some(Asked { at, overtaken }) = self.asked.remove(id) else { return Vec::new() };
        match (overtaken, answer) {
            (Overtaken::ByEnd, _) => Vec::new(),
            (Overtaken::ByNews, _) => self.ask(id.clone(), at),
            (Overtaken::No, None) => self.on_end(id, at),
            (Overtaken::No, Some(container)) => {
                if !matches!(container.run_state, RunState::Down(_)) {
                    self.ended.remove(id);
                }
                self.settle_drain(&container);
                self.settle(container, at)
            }
        }
    }

    /// The inspect of a container failed: the last truth about it stays, until the next list.
    pub(super) fn on_inspect_failed(&mut self, id: &ReplicaId) {
        self.asked.remove(id);
    }

    /// The list was answered.
    pub(super) fn on_list(&mut self, rows: Vec<Container>, at: Instant) -> Vec<Action> {
        let touched = self.touched.take().unwrap_or_default();
        let is_touched = |id: &ReplicaId| touched.contains(id);
        let mut before = std::mem::take(&mut self.known);
        let listed: HashSet<_> = rows.iter().map(|row| row.id.clone()).collect();
        let is_there = |id: &ReplicaId| listed.contains(id) || is_touched(id);
        self.draining.retain(|id, _| is_there(id));
        self.undecided.retain(|id, _| is_there(id));
        self.ended.retain(is_there);
        let (mut removes, mut questions) = (Vec::new(), Vec::new());
        for row in rows.into_iter().filter(|row| !is_touched(&row.id)) {
            if self.ended.contains(&row.id) {
                questions.push(row.id);
                continue;
            }
            let was = before.remove(&row.id);
            let row = was.iter().fold(row, |row, was| row.recalling(&was.container));
            let Some(now) = self.judge(row) else { continue };
            let id = now.container.id.clone();
            let is_doubtful = now.is_doubtful(was.as_ref());
            // Neither has a row the start nor the stop signal that these wait for.
            if is_doubtful || self.draining.contains_key(&id) || self.undecided.contains_key(&id) {
                questions.push(id.clone());
            }
            if is_doubtful {
                self.known.extend(was.map(|was| (id, was)));
                continue;
            }
            if was.is_some_and(|was| was.is_succeeded_by(&now)) {
                removes.push(self.remove(&id, at));
            }
            self.known.insert(id, now);
        }
        // What an event touched since is known better than the list can tell.
        self.known.extend(before.into_iter().filter(|(id, _)| is_touched(id)));
        let replicas = self.known.values().filter_map(|known| known.sighting().cloned()).collect();
        let considered = self.known.values().map(|known| known.evaluation.considered.clone()).collect();
        let mut actions = removes;
        actions.push(apply(Change::Reset { provider: self.provider(), replicas }, at));
        actions.push(Action::ConsiderAll(considered));
        actions.extend(questions.into_iter().flat_map(|id| self.ask(id, at)));
        actions
    }

    /// Whether anything about this container is known or being found out. A running container that is not watched
    /// was judged to be none of our business.
    fn is_watched(&self, id: &ReplicaId) -> bool {
        self.known.contains_key(id) || self.asked.contains_key(id) || self.touched.is_some()
    }

    /// Whether the container ended while an inspect of it is under way.
    fn has_ended(&self, id: &ReplicaId) -> bool {
        self.asked.get(id).is_some_and(|asked| asked.overtaken == Overtaken::ByEnd)
    }

    fn touch(&mut self, id: &ReplicaId) {
        if let Some(touched) = &mut self.touched {
            touched.insert(id.clone());
        }
    }

    /// Inspects a container, unless that is under way.
    fn ask(&mut self, id: ReplicaId, at: Instant) -> Vec<Action> {
        if self.asked.contains_key(&id) {
            return Vec::new();
        }
        self.asked.insert(id.clone(), Asked { at, overtaken: Overtaken::No });
        vec![Action::Inspect(id)]
    }

    /// Inspects a container because something happened to it just now: an answer under way is too old.
    fn ask_anew(&mut self, id: ReplicaId, at: Instant) -> Vec<Action> {
        self.touch(&id);
        if self.overtake(&id, at) { Vec::new() } else { self.ask(id, at) }
    }

    /// Marks the inspect that is under way, if any, as too old, and says whether there is one.
    fn overtake(&mut self, id: &ReplicaId, at: Instant) -> bool {
        let asked = self.asked.get_mut(id);
        asked.map(|asked| *asked = Asked { at, overtaken: Overtaken::ByNews }).is_some()
    }

    /// Something was taken away from a container: act on what we know of it, without asking.
    fn amend(&mut self, id: ReplicaId, at: Instant, change: impl FnOnce(&mut Container)) -> Vec<Action> {
        // A container that ended goes on leaving its networks.
        let is_asked = self.has_ended(&id) || self.overtake(&id, at);
        self.touch(&id);
        let mut actions = Vec::new();
        if let Some(known) = self.known.get(&id) {
            let mut container = known.container.clone();
            change(&mut container);
            actions = self.settle(container, at);
        }
        // The row of a list that is under way is void now, and what we know may be of an earlier connection.
        if self.touched.is_some() && !is_asked {
            actions.extend(self.ask_anew(id, at));
        }
        actions
    }

    /// A signal was sent. While the stop signal is not known (a list does not tell) SIGTERM is taken for it: it is for
    /// nearly every container, most others end on it just the same, and each request sent to one that is ending may
    /// be lost. Any other signal has to wait for the inspect.
    fn on_kill(&mut self, id: ReplicaId, signal: Signal, at: Instant) -> Vec<Action> {
        if !self.is_watched(&id) || self.has_ended(&id) {
            return Vec::new();
        }
        let known = self.known.get(&id);
        let stop_signal = known.and_then(|known| known.container.stop_signal());
        // While an answer is under way, what we know may be of the run before.
        let is_current = self.touched.is_none() && !self.asked.contains_key(&id);
        let run = known.filter(|_| is_current).map(Known::run).unwrap_or_default();
        if signal == Signal::KILL || signal == stop_signal.unwrap_or(Signal::TERM) {
            let container = known.map(|known| known.container.clone());
            let is_dated = run.started_at.is_some();
            self.draining.insert(id.clone(), run);
            let mut actions = container.map(|container| self.settle(container, at)).unwrap_or_default();
            if !is_dated {
                actions.extend(self.ask(id, at));
            }
            actions
        } else if stop_signal.is_none() {
            self.undecided.entry(id.clone()).or_insert_with(|| (run, Vec::new())).1.push(signal);
            self.ask(id, at)
        } else {
            Vec::new()
        }
    }

    /// The container does not run any more.
    fn on_end(&mut self, id: &ReplicaId, at: Instant) -> Vec<Action> {
        self.touch(id);
        self.draining.remove(id);
        self.undecided.remove(id);
        self.ended.insert(id.clone());
        if let Some(asked) = self.asked.get_mut(id) {
            asked.overtaken = Overtaken::ByEnd;
        }
        let Some(known) = self.known.remove(id) else { return Vec::new() };
        let remove = known.sighting().map(|_| self.remove(id, at));
        remove.into_iter().chain([Action::Forget(id.clone())]).collect()
    }

    /// Decides with an inspect's answer whether the container is still the one that was told to stop.
    fn settle_drain(&mut self, container: &Container) {
        let id = &container.id;
        let undecided = self.undecided.remove(id);
        if let RunState::Down(_) = container.run_state {
            // The `kill` that was heard was of a run that has ended.
            self.draining.remove(id);
            return;
        }
        if let Some((run, signals)) = undecided
            && signals.into_iter().any(|signal| Some(signal) == container.stop_signal())
        {
            self.draining.entry(id.clone()).or_insert(run);
        }
        match self.draining.get_mut(id) {
            Some(run) if run.goes_on_in(container) => run.started_at = container.started_at().map(str::to_owned),
            // Its `die` was missed, and this is the run after it.
            Some(_) => drop(self.draining.remove(id)),
            None => {}
        }
    }

    fn provider(&self) -> Provider {
        self.scope.settings.provider.clone()
    }

    fn remove(&self, id: &ReplicaId, at: Instant) -> Action {
        apply(Change::Remove { provider: self.provider(), id: id.clone() }, at)
    }

    fn judge(&self, container: Container) -> Option<Known> {
        let evaluation = evaluate(&container, &self.scope)?;
        let is_draining = self.draining.contains_key(&container.id);
        let evaluation = if is_draining { evaluation.drained() } else { evaluation };
        Some(Known { container, evaluation })
    }

    /// Judges a container as it is now, and says what is new.
    fn settle(&mut self, container: Container, at: Instant) -> Vec<Action> {
        let id = container.id.clone();
        let was = self.known.remove(&id);
        let Some(now) = self.judge(container) else {
            let remove = was.as_ref().and_then(Known::sighting).map(|_| self.remove(&id, at));
            return remove.into_iter().chain(was.map(|_| Action::Forget(id))).collect();
        };
        let succeeded = was.as_ref().is_some_and(|was| was.is_succeeded_by(&now));
        let before = was.as_ref().and_then(Known::sighting).map(|sighting| sighting.lifecycle);
        let mut actions = Vec::new();
        if succeeded || (before.is_some() && now.sighting().is_none()) {
            actions.push(self.remove(&id, at));
        }
        let is_news = succeeded || was.as_ref().and_then(Known::sighting) != now.sighting();
        if let Some(replica) = now.sighting().filter(|_| is_news) {
            let is_drain = replica.lifecycle == Lifecycle::Draining && !succeeded;
            actions.push(match before {
                Some(before) if is_drain && before != Lifecycle::Draining => {
                    apply(Change::Drain { provider: self.provider(), id: id.clone() }, at)
                }
                _ => apply(Change::Upsert { replica: Box::new(replica.clone()) }, at),
            });
        }
        actions.push(Action::Consider(now.evaluation.considered.clone()));
        self.known.insert(id, now);
        actions
    }
}

fn apply(change: Change, at: Instant) -> Action {
    Action::Apply(Observed { change, at })
}

#[cfg(test)]
mod tests;
