//! Passive ejection: a replica whose requests fail takes none for a while.
//!
//! The data plane counts; what follows is decided here. It raises an alarm when a replica has failed often enough in a
//! row, which is looked into at once; how many fail of all is looked at a few times a second. Of a service's replicas at
//! most half are ejected, and so never the last one: those who are left must bear the load.

use std::cmp::Reverse;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::sentence::Sentence;
use super::window::{Outcomes, Window};
use crate::config::settings::{EjectSettings, ProxySettings};
use crate::metrics::Fault;
use crate::registry::{Registry, Replicas, forget_unlisted};
use crate::replica::{Replica, State};

/// The time between two looks at how many fail.
const LOOK: Duration = Duration::from_millis(250);

/// So few outcomes say nothing about how many of all would fail.
const FEWEST: u64 = 20;

/// Ejects replicas whose requests fail, and readmits them when their time is over.
#[derive(Debug)]
pub struct Ejector {
    registry: Registry,
    settings: EjectSettings,
    newest: watch::Receiver<Arc<ProxySettings>>,
    /// By incarnation.
    cases: FxHashMap<u64, Case>,
}

/// What is known of one replica.
#[derive(Debug, Default)]
struct Case {
    window: Window,
    sentence: Sentence,
}

/// Why a replica is to be ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Charge {
    cause: Cause,
    /// What most of the failures were.
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// So many failures in a row.
    Row(u32),
    /// So many failures of so many.
    Rate(u64, u64),
}

impl fmt::Display for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Row(failures) => write!(f, "{failures} failures in a row, most by {}", self.fault),
            Cause::Rate(failed, all) => write!(f, "{failed} of {all} failed, most by {}", self.fault),
        }
    }
}

impl Ejector {
    /// One for every replica of `registry`, now and later, by the settings as of now and later. There is to be one of
    /// these.
    pub fn new(registry: Registry, settings: watch::Receiver<Arc<ProxySettings>>) -> Self {
        let eject = settings.borrow().eject;
        Self { registry, settings: eject, newest: settings, cases: FxHashMap::default() }
    }

    /// Ejects and readmits until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut next_look = Instant::now();
        loop {
            // Who was ejected before there were no ejections any more is readmitted all the same.
            let ends = self.cases.values().filter_map(|case| case.sentence.until());
            let next = ends.chain(self.settings.is_on().then_some(next_look)).min();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.registry.alarmed() => {}
                () = async { if let Some(next) = next { sleep_until(next).await } else { pending().await } } => {}
                Ok(()) = self.newest.changed() => self.settings = self.newest.borrow_and_update().eject,
            }
            let now = Instant::now();
            let keeps = now >= next_look;
            if keeps {
                next_look = now + LOOK;
            }
            self.look(now, keeps);
        }
    }

    /// Looks at every replica once; `keeps`: and keeps what is counted for later.
    fn look(&mut self, now: Instant, keeps: bool) {
        let services = self.registry.services();
        let mut cases = std::mem::take(&mut self.cases);
        for replica in services.iter().flat_map(|replicas| replicas.list()) {
            self.release(replica, cases.entry(replica.incarnation()).or_default(), now);
        }
        forget_unlisted(&mut cases, &services);
        self.cases = cases;
        for replicas in &services {
            self.judge(replicas, now);
            for replica in replicas.list().iter().filter(|_| keeps) {
                if let Some(case) = self.cases.get_mut(&replica.incarnation()) {
                    case.window.keep(now, Outcomes::of(replica.metrics()));
                }
            }
        }
    }

    /// Ends an ejection whose time is over, and takes note of one that probes have ended.
    fn release(&self, replica: &Replica, case: &mut Case, now: Instant) {
        let Some(until) = case.sentence.until() else { return };
        if replica.ejected_by().is_some() {
            if now < until {
                return;
            }
            readmit(replica, &self.registry, "its time is over");
        }
        case.sentence.end(now);
        case.window.restart(Outcomes::of(replica.metrics()));
    }

    /// Ejects whoever has it coming, the worst first, as far as there is room.
    fn judge(&mut self, replicas: &Replicas, now: Instant) {
        let of_state = |state| replicas.list().iter().filter(move |r| r.state() == state && r.spec().weight > 0);
        let (ready, ejected) = (of_state(State::Ready).count(), of_state(State::Ejected).count());
        let room = ((ready + ejected) / 2).saturating_sub(ejected);
        if room == 0 {
            return;
        }
        let mut charged: Vec<_> =
            of_state(State::Ready).filter_map(|replica| Some((replica, self.charge(replica)?))).collect();
        charged.sort_by_key(|(replica, _)| Reverse(replica.consecutive_failures()));
        for (replica, charge) in charged.into_iter().take(room) {
            let Some(case) = self.cases.get_mut(&replica.incarnation()) else { continue };
            let (depth, length) = case.sentence.begin(now, self.settings.time);
            replica.eject(charge.fault, depth);
            let (service, name) = (&replica.spec().service, &replica.spec().name);
            info!(service = %service, replica = %name, cause = %format_args!("{charge}; for {length:?}"), "Replica ejected");
            self.registry.announce_standing();
        }
    }

    /// What speaks for an ejection, if anything does.
    fn charge(&self, replica: &Replica) -> Option<Charge> {
        let EjectSettings { failures, rate, .. } = self.settings;
        let row = replica.consecutive_failures();
        let window = &self.cases.get(&replica.incarnation())?.window;
        let lately = window.outcomes(&Outcomes::of(replica.metrics()));
        let (failed, all) = (lately.failed(), lately.all());
        let cause = if failures > 0 && row >= failures {
            Cause::Row(row)
        } else if rate > 0 && all >= FEWEST && failed * 100 >= all * u64::from(rate) {
            Cause::Rate(failed, all)
        } else {
            return None;
        };
        Some(Charge { cause, fault: lately.most().unwrap_or(Fault::Reset) })
    }
}

/// Ends a replica's ejection and says so.
pub(super) fn readmit(replica: &Replica, registry: &Registry, cause: &str) {
    replica.readmit();
    info!(service = %replica.spec().service, replica = %replica.spec().name, cause, "Replica readmitted");
    registry.announce_standing();
}

#[cfg(test)]
mod tests;
