//! Health: probes replicas, ejects those whose requests fail, and lets the share of newcomers grow; the only writer of
//! health, of ejections and of ramps.
//!
//! Every replica has a task that probes it from when it runs to its removal: quickly until the first pass,
//! so that it is ready within a moment of its own readiness, and at its interval from then on.

mod appeal;
mod eject;
mod pace;
mod probe;
mod sentence;
mod slow_start;
mod streak;
mod window;

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

pub use self::eject::Ejector;
pub use self::slow_start::SlowStart;

use self::appeal::Appeal;
use self::pace::Pace;
use self::probe::{ProbeError, probe};
use self::streak::Streak;
use crate::registry::{Registry, change_after, forget_unlisted};
use crate::replica::{Health, Lifecycle, Replica};

/// The probes of everything in the registry.
#[derive(Debug)]
pub struct Prober {
    registry: Registry,
}

/// A replica as the registry showed it last. Its task wakes when this changes.
#[derive(Clone, Debug)]
struct Seen {
    replica: Arc<Replica>,
    lifecycle: Lifecycle,
}

/// A replica's task, which ends with this, and the way to tell it what is new.
struct Probing {
    news: watch::Sender<Seen>,
    /// What it was told last.
    seen: Seen,
    _task: AbortOnDropHandle<()>,
}

impl Prober {
    /// A prober for every replica of `registry`, now and later.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Probes until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut changes = self.registry.watch_members();
        let mut probing = FxHashMap::default();
        loop {
            changes.mark_unchanged();
            self.follow(&mut probing);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = change_after(probing.len(), &mut changes) => if changed.is_err() { return },
            }
        }
    }

    /// Starts a task for each replica that is new, ends those of replicas that left, and wakes those in between
    /// that changed.
    fn follow(&self, probing: &mut FxHashMap<u64, Probing>) {
        let services = self.registry.services();
        // Most are as they were, each time: nothing is written for those.
        for replica in services.iter().flat_map(|replicas| replicas.list()) {
            let now = || Seen { replica: Arc::clone(replica), lifecycle: replica.lifecycle() };
            match probing.get_mut(&replica.incarnation()) {
                Some(task) => {
                    if !Arc::ptr_eq(&task.seen.replica, replica) || task.seen.lifecycle != replica.lifecycle() {
                        task.seen = now();
                        task.news.send_replace(now());
                    }
                }
                None => drop(probing.insert(replica.incarnation(), Probing::start(now(), self.registry.clone()))),
            }
        }
        forget_unlisted(probing, &services);
    }
}

impl Probing {
    fn start(seen: Seen, registry: Registry) -> Self {
        let (sender, news) = watch::channel(seen.clone());
        Self { news: sender, seen, _task: AbortOnDropHandle::new(tokio::spawn(keep_probing(news, registry))) }
    }
}

/// Probes one replica for as long as it is in the registry.
async fn keep_probing(mut news: watch::Receiver<Seen>, registry: Registry) {
    let (mut streak, mut pace, mut appeal) = (Streak::default(), Pace::default(), Appeal::default());
    loop {
        let Seen { replica, lifecycle } = news.borrow_and_update().clone();
        let spec = &replica.spec().probe;
        // A paused replica cannot answer, which says nothing about it; a draining one needs no more answers. Of one that
        // starts others decide when it may serve; and to ask before its address has an owner would delay the answer: the
        // kernel asks for the owner each second only.
        if matches!(lifecycle, Lifecycle::Starting | Lifecycle::Paused | Lifecycle::Draining) {
            if news.changed().await.is_err() {
                return;
            }
            continue;
        }
        let began_in = replica.ejection();
        let outcome = probe(replica.spec().addr, spec).await;
        if replica.lifecycle() == lifecycle {
            if appeal.is_granted(outcome.is_ok(), began_in, spec) && replica.ejection() == began_in {
                eject::readmit(&replica, &registry, "its probes pass");
            }
            let health = streak.count(outcome.is_ok(), replica.health(), spec);
            if record(&replica, health, outcome) {
                registry.announce_standing();
            }
        }
        tokio::select! {
            () = sleep(pace.pause(replica.health(), spec.interval)) => {}
            changed = news.changed() => if changed.is_err() { return },
        }
    }
}

/// Writes what a probe came to, and says so if it changed the replica's health; whether it did.
fn record(replica: &Replica, health: Health, outcome: Result<(), ProbeError>) -> bool {
    let (service, name) = (&replica.spec().service, &replica.spec().name);
    let cause = outcome.err();
    if let Some(cause) = &cause {
        debug!(service = %service, replica = %name, %cause, "Probe failed");
        replica.set_last_error(format_args!("probe: {cause}"));
    }
    if health == replica.health() {
        return false;
    }
    replica.set_health(health);
    match cause {
        None => info!(service = %service, replica = %name, "Replica healthy"),
        Some(cause) if health == Health::Suspect => {
            info!(service = %service, replica = %name, %cause, "Replica suspect")
        }
        Some(cause) => info!(service = %service, replica = %name, %cause, "Replica unhealthy"),
    }
    true
}

#[cfg(test)]
mod tests;
