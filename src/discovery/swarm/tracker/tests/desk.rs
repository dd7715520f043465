//! A tracker at work, without a manager and without a registry.

use std::collections::BTreeMap;

use super::*;

/// The tracker with what a registry would have made of its changes, on a clock of its own.
pub(super) struct Desk {
    pub(super) tracker: Tracker,
    pub(super) registry: BTreeMap<ReplicaId, Lifecycle>,
    /// Every change in short, `Upsert c1` and so on.
    pub(super) log: Vec<String>,
    pub(super) considered: BTreeMap<ReplicaId, &'static str>,
    pub(super) now: Instant,
}

impl Desk {
    pub(super) fn new() -> Self {
        let mut tracker = Tracker::new(inside(&["shop_default"]));
        let now = Instant::now();
        tracker.on_nodes(vec![node(1), node(2)], now);
        tracker.on_services(vec![service()], now);
        let (registry, log, considered) = Default::default();
        Self { tracker, registry, log, considered, now }
    }

    /// A desk that has been told of these.
    pub(super) fn with(tasks: &[Task]) -> Self {
        let mut desk = Self::new();
        desk.answer(tasks, &[]);
        desk.log.clear();
        desk
    }

    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Apply(observed) => self.apply(observed.change),
                Action::Consider(considered) => {
                    self.considered.insert(considered.id, considered.verdict.code());
                }
                Action::ConsiderAll(all) => {
                    self.considered = all.into_iter().map(|c| (c.id, c.verdict.code())).collect();
                }
                Action::Forget(id) => drop(self.considered.remove(&id)),
            }
        }
    }

    fn upsert(&mut self, replica: Sighting) {
        let lifecycle = self.registry.entry(replica.spec.id).or_insert(replica.lifecycle);
        if *lifecycle != Draining {
            *lifecycle = replica.lifecycle;
        }
    }

    fn apply(&mut self, change: Change) {
        let line = match change {
            Change::Reset { replicas, .. } => {
                self.registry.retain(|id, _| replicas.iter().any(|replica| replica.spec.id == *id));
                replicas.into_iter().for_each(|replica| self.upsert(replica));
                "Reset".to_owned()
            }
            Change::Upsert { replica } => {
                let line = format!("Upsert {}", replica.spec.id);
                self.upsert(*replica);
                line
            }
            Change::Drain { id, .. } => {
                *self.registry.get_mut(&id).unwrap() = Draining;
                format!("Drain {id}")
            }
            Change::Retire { .. } => unreachable!("a task is there or it is not"),
            Change::Remove { id, .. } => {
                self.registry.remove(&id).unwrap();
                format!("Remove {id}")
            }
        };
        self.log.push(line);
    }

    /// Whom it would ask about, at once.
    pub(super) fn turn(&self) -> Turn {
        self.tracker.turn(self.now).unwrap()
    }

    /// Asks, and answers: with those that are wanted, and those of the others of which it asked.
    pub(super) fn answer(&mut self, wanted: &[Task], others: &[Task]) {
        let turn = self.turn();
        let question = self.tracker.question(&turn);
        self.answer_to(&turn, &question, wanted, others);
    }

    pub(super) fn answer_to(&mut self, turn: &Turn, question: &Question, wanted: &[Task], others: &[Task]) {
        self.now = self.now.max(turn.at);
        let is_asked = |task: &&Task| {
            let is_missing = question.expected.contains(&task.id) && !wanted.iter().any(|other| other.id == task.id);
            is_missing || question.leaving.contains(&task.id)
        };
        let is_served = |task: &&Task| question.services.contains(&task.service);
        let answer = Answer {
            wanted: wanted.iter().filter(is_served).cloned().collect(),
            others: others.iter().filter(is_asked).cloned().collect(),
        };
        self.tracker.note_answer(turn, self.now, self.now);
        let actions = self.tracker.on_answer(turn, question, answer, self.now);
        self.perform(actions);
    }

    pub(super) fn event(&mut self, id: &str, kind: EventKind) {
        let healthy = None;
        self.event_with(id, kind, healthy);
    }

    pub(super) fn event_with(&mut self, id: &str, kind: EventKind, healthy: Option<bool>) {
        let event = Event { id: id.into(), kind };
        let actions = self.tracker.on_container(&event, healthy, "gateway-id", self.now);
        self.perform(actions);
    }

    pub(super) fn kill(&mut self, id: &str, signal: &str) {
        self.event(id, EventKind::Kill(Signal::parse(signal).unwrap()));
    }

    pub(super) fn services(&mut self, services: &[Service]) {
        let actions = self.tracker.on_services(services.to_vec(), self.now);
        self.perform(actions);
    }

    pub(super) fn nodes(&mut self, nodes: &[Node]) {
        let actions = self.tracker.on_nodes(nodes.to_vec(), self.now);
        self.perform(actions);
    }

    /// In how many milliseconds it would ask again.
    pub(super) fn pause(&self) -> u128 {
        self.turn().at.saturating_duration_since(self.now).as_millis()
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Asks and answers the same for so long.
    pub(super) fn go_on(&mut self, time: Duration, wanted: &[Task], others: &[Task]) -> usize {
        let (end, mut polls) = (self.now + time, 0);
        while self.turn().at < end {
            self.answer(wanted, others);
            polls += 1;
        }
        self.now = end;
        polls
    }

    #[track_caller]
    pub(super) fn assert(&self, log: &[&str], registry: &[(&str, Lifecycle)]) {
        let expected = registry.iter().map(|(id, lifecycle)| ((*id).into(), *lifecycle)).collect();
        assert_eq!(
            (&self.registry, self.log.as_slice()),
            (&expected, log.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice())
        );
    }
}
