//! Slow start: the share of a replica that becomes ready beside others grows from a tenth to the whole.
//!
//! Whoever is not ready waits at the bottom of the ramp, so that it is there from its first moment on. Where those who
//! are new would be most of those who are ready, a ramp would only keep the load on the few who bear it already, and
//! they have their whole share at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::settings::ProxySettings;
use crate::registry::{Registry, Replicas, change_after};
use crate::replica::{FULL_RAMP, State};

/// The time between two steps of a ramp.
const STEP: Duration = Duration::from_millis(100);

/// The bottom of a ramp.
const BOTTOM: u16 = FULL_RAMP.div_ceil(10);

/// Drives the ramps of all replicas.
#[derive(Debug)]
pub struct SlowStart {
    registry: Registry,
    /// How long a ramp is; zero: there are none.
    length: Duration,
    newest: watch::Receiver<Arc<ProxySettings>>,
    /// Since when who is ready is, by incarnation.
    ready: HashMap<u64, Instant>,
}

impl SlowStart {
    /// One for every replica of `registry`, now and later, with ramps as long as the settings say now and later.
    pub fn new(registry: Registry, settings: watch::Receiver<Arc<ProxySettings>>) -> Self {
        let length = settings.borrow().slow_start;
        Self { registry, length, newest: settings, ready: HashMap::new() }
    }

    /// Drives until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut changes = self.registry.watch();
        loop {
            changes.mark_unchanged();
            let has_ramps = self.step(Instant::now());
            tokio::select! {
                () = stop.cancelled() => return,
                changed = change_after(self.ready.len(), &mut changes) => if changed.is_err() { return },
                () = sleep(STEP), if has_ramps => {}
                Ok(()) = self.newest.changed() => {
                    let length = self.newest.borrow_and_update().slow_start;
                    self.set_length(length);
                }
            }
        }
    }

    /// Makes ramps so long from now on; without any, everybody has the whole share at once.
    fn set_length(&mut self, length: Duration) {
        self.length = length;
        if length.is_zero() {
            self.ready.clear();
            let services = self.registry.services();
            services.iter().flat_map(|replicas| replicas.list()).for_each(|replica| replica.set_ramp(FULL_RAMP));
        }
    }

    /// Sets every ramp to where it is now; whether any goes on.
    fn step(&mut self, now: Instant) -> bool {
        if self.length.is_zero() {
            return false;
        }
        let mut known = std::mem::take(&mut self.ready);
        let mut has_ramps = false;
        for replicas in self.registry.services() {
            for replica in replicas.list() {
                let since = known.remove(&replica.incarnation());
                // A probe that failed by chance sends nobody back to the bottom.
                let is_up = match replica.state() {
                    State::Ready => true,
                    State::Suspect => since.is_some(),
                    _ => false,
                };
                if is_up && replica.spec().weight > 0 {
                    self.ready.insert(replica.incarnation(), since.unwrap_or(now));
                }
                if since.is_none() || !is_up {
                    replica.set_ramp(BOTTOM);
                }
            }
            has_ramps |= self.climb(&replicas, now);
        }
        has_ramps
    }

    fn climb(&self, replicas: &Replicas, now: Instant) -> bool {
        let age = |since: &Instant| now.saturating_duration_since(*since);
        let ready = || {
            replicas.list().iter().filter_map(|replica| Some((replica, age(self.ready.get(&replica.incarnation())?))))
        };
        let new = ready().filter(|(_, age)| *age < self.length).count();
        let are_most = new * 2 > ready().count();
        let mut has_ramps = false;
        for (replica, age) in ready() {
            let climbed = age.as_secs_f64() / self.length.as_secs_f64();
            let ramp = if are_most || climbed >= 1.0 {
                FULL_RAMP
            } else {
                // Who was let off its ramp is not put back on it.
                replica.ramp().max(BOTTOM + (f64::from(FULL_RAMP - BOTTOM) * climbed) as u16)
            };
            replica.set_ramp(ramp);
            has_ramps |= ramp < FULL_RAMP;
        }
        has_ramps
    }
}

#[cfg(test)]
mod tests;
