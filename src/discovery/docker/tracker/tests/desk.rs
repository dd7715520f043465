//! A tracker at work, without an engine and without a registry.

use std::collections::BTreeMap;

use super::*;
use crate::change::Sighting;

/// The tracker with what a registry would have made of its changes and the inspects it waits for.
pub(super) struct Desk {
    pub(super) tracker: Tracker,
    pub(super) registry: BTreeMap<ReplicaId, Lifecycle>,
    /// Every change in short, `Upsert g1` and so on.
    pub(super) log: Vec<String>,
    pub(super) considered: BTreeMap<ReplicaId, &'static str>,
    pub(super) asked: Vec<ReplicaId>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let tracker = Tracker::new(inside(&["shop_default"]));
        let (registry, log, considered, asked) = Default::default();
        Self { tracker, registry, log, considered, asked }
    }

    /// A desk after a first list of these.
    pub(super) fn with(rows: &[Container]) -> Self {
        let mut desk = Self::new();
        desk.list(rows);
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
                Action::Inspect(id) => {
                    assert!(!self.asked.contains(&id), "one inspect per container at a time");
                    self.asked.push(id);
                }
                Action::FindOurselves => self.log.push("Find ourselves".to_owned()),
            }
        }
    }

    pub(super) fn apply(&mut self, change: Change) {
        let upsert = |registry: &mut BTreeMap<_, _>, replica: Sighting| {
            let lifecycle = registry.entry(replica.spec.id).or_insert(replica.lifecycle);
            if *lifecycle != Draining {
                *lifecycle = replica.lifecycle;
            }
        };
        self.log.push(match change {
            Change::Reset { replicas, .. } => {
                self.registry.retain(|id, _| replicas.iter().any(|replica| replica.spec.id == *id));
                replicas.into_iter().for_each(|replica| upsert(&mut self.registry, replica));
                "Reset".to_owned()
            }
            Change::Upsert { replica, .. } => {
                let line = format!("Upsert {}", replica.spec.id);
                upsert(&mut self.registry, *replica);
                line
            }
            Change::Drain { id, .. } => {
                *self.registry.get_mut(&id).unwrap() = Draining;
                format!("Drain {id}")
            }
            Change::Retire { .. } => unreachable!("a container is there or it is not"),
            Change::Remove { id, .. } => {
                self.registry.remove(&id);
                format!("Remove {id}")
            }
        });
    }

    pub(super) fn event(&mut self, id: &str, kind: EventKind) {
        let actions = self.tracker.on_event(Event { id: id.into(), kind }, Instant::now());
        self.perform(actions);
    }

    pub(super) fn kill(&mut self, id: &str, signal: &str) {
        self.event(id, EventKind::Kill(Signal::parse(signal).unwrap()));
    }

    pub(super) fn list(&mut self, rows: &[Container]) {
        self.tracker.list_asked();
        self.list_answered(rows);
    }

    pub(super) fn list_answered(&mut self, rows: &[Container]) {
        let actions = self.tracker.on_list(rows.to_vec(), Instant::now());
        self.perform(actions);
    }

    /// Answers the oldest inspect.
    pub(super) fn answer(&mut self, answer: Option<Container>) {
        let id = self.asked.remove(0);
        let actions = self.tracker.on_inspected(&id, answer);
        self.perform(actions);
    }

    pub(super) fn reconnect(&mut self) {
        self.asked.clear();
        self.tracker.reconnected(inside(&["shop_default"]));
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
