//! What the registry publishes: the frozen list of one service.

use std::cmp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::schedule::{Schedule, Start};
use crate::replica::Replica;
use crate::service::ServiceName;

/// The replicas of one service, frozen: membership never changes under a reader. The replicas' own atomics
/// (lifecycle, health, in-flight) go on living.
#[derive(Debug)]
pub struct Replicas {
    service: ServiceName,
    list: Box<[Arc<Replica>]>,
    heaviest: u16,
    /// Those that no peer runs; `None`: all of them.
    local: Option<Arc<Self>>,
    known: usize,
    schedule: OnceLock<Schedule>,
    start: Start,
    /// Whether anybody has asked for the schedule.
    is_scheduled: AtomicBool,
}

impl Replicas {
    /// Freezes a list, ordered by container number, then name, then id.
    pub fn freeze(service: ServiceName, list: Vec<Arc<Replica>>) -> Self {
        Self::freeze_after(None, service, list)
    }

    /// Freezes the list that takes the place of this one, and goes on with its schedule.
    pub(crate) fn freeze_after(older: Option<&Self>, service: ServiceName, mut list: Vec<Arc<Replica>>) -> Self {
        list.sort_by(|a, b| order(a, b));
        let heaviest = list.iter().map(|r| r.spec().weight).max().unwrap_or(0);
        let local = list.iter().any(|r| r.is_peer()).then(|| {
            let local = list.iter().filter(|r| !r.is_peer()).cloned().collect();
            let older = older.map(|older| older.local.as_deref().unwrap_or(older));
            Arc::new(Self::freeze_after(older, service.clone(), local))
        });
        let left = |older: &Self| older.schedule.get().map_or(older.start, Schedule::left);
        let (schedule, start) = (OnceLock::new(), older.map(left).unwrap_or_default());
        let is_wanted = older.is_some_and(|older| older.is_scheduled.load(Ordering::Relaxed));
        let is_scheduled = AtomicBool::new(false);
        let new =
            Self { service, known: list.len(), list: list.into(), heaviest, local, schedule, start, is_scheduled };
        if is_wanted {
            new.make_schedule();
        }
        new
    }

    /// Those that no peer runs, frozen likewise.
    pub fn local(self: &Arc<Self>) -> Arc<Self> {
        Arc::clone(self.local.as_ref().unwrap_or(self))
    }

    /// The service they belong to.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The replicas in their fixed order.
    pub fn list(&self) -> &[Arc<Replica>] {
        &self.list
    }

    /// The greatest weight in the list, whether or not who has it can be picked.
    pub fn heaviest(&self) -> u16 {
        self.heaviest
    }

    /// Their turns. It is made if somebody asked for that of the list before, by whoever freezes this one; else by whoever
    /// asks first, since few policies need it.
    pub(crate) fn schedule(&self) -> &Schedule {
        if !self.is_scheduled.load(Ordering::Relaxed) {
            self.is_scheduled.store(true, Ordering::Relaxed);
        }
        self.schedule.get().unwrap_or_else(|| self.make_schedule())
    }

    /// Of two who do so at once one does it in vain, rather than wait for the other.
    #[cold]
    fn make_schedule(&self) -> &Schedule {
        let schedule = Schedule::new(&self.list, self.start);
        self.schedule.get_or_init(|| schedule)
    }

    #[cfg(test)]
    pub(super) fn has_schedule(&self) -> bool {
        self.schedule.get().is_some()
    }

    /// The same, of a service of which so many replicas are known.
    pub(super) fn of_known(self, known: usize) -> Self {
        Self { known, ..self }
    }

    /// How many replicas of the service are known, those outside of the subset among them.
    pub fn known(&self) -> usize {
        self.known
    }
}

/// The order of a list: by container number, then name, then id.
pub(super) fn order(a: &Replica, b: &Replica) -> cmp::Ordering {
    let number = |replica: &Replica| replica.spec().number.unwrap_or(u32::MAX);
    let by_name = || a.spec().name.cmp(&b.spec().name).then_with(|| a.id().cmp(b.id()));
    number(a).cmp(&number(b)).then_with(by_name)
}
