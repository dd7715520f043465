//! Latency, as the policy `ewma` minds it: an average of each replica's that follows a rise at once and a fall slowly.
//!
//! A sample above the average replaces it; one below pulls it down by how much time has passed ([`TAU`]). So one slow
//! answer sends the next requests elsewhere, and it takes a while of quick ones to make up for it.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::replica::Replica;

/// The time after which an older average has lost all but 1/e of its say.
const TAU: Duration = Duration::from_secs(10);

/// Averages within this factor of each other are taken for equal: less is noise, or settled by the requests in flight.
const APART: f64 = 2.0;

/// What time is counted from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds on the clock of all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

impl Moment {
    pub(super) fn now() -> Self {
        Self(nanos(EPOCH.elapsed()))
    }
}

/// What one attempt says of a replica's latency: the time from the request's end to its answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// It answered after so long.
    Is(Duration),
    /// It had not answered by then, or only to say that it failed. This can show that it is slow, never that it is quick:
    /// who fails at once must not draw the requests to itself.
    AtLeast(Duration),
}

/// Takes an attempt into the average. Of two workers that do so at once one may be lost, which the next attempt makes up
/// for.
pub(super) fn note(replica: &Replica, latency: Latency, now: Moment) {
    let cell = replica.latency_cell();
    let old = cell.average.load(Ordering::Relaxed);
    let (sample, is_bound) = match latency {
        Latency::Is(sample) => (nanos(sample).max(1), false),
        Latency::AtLeast(sample) => (nanos(sample).max(1), true),
    };
    if is_bound && sample <= old {
        return;
    }
    let average = if sample >= old {
        sample
    } else {
        let share = remembered(now.0.saturating_sub(cell.at.load(Ordering::Relaxed)));
        sample + ((old - sample) as f64 * share) as u64
    };
    cell.average.store(average, Ordering::Relaxed);
    cell.at.store(now.0, Ordering::Relaxed);
}

/// Which of two replicas is likely to answer sooner, by latency times requests for each unit of its share. `None` where
/// their latencies say nothing, so that the requests in flight have to: a replica of which nothing is known is as quick
/// as the other, or else whoever is new would be herded, or shunned.
pub(super) fn sooner<'a>(one: &'a Arc<Replica>, other: &'a Arc<Replica>, now: Moment) -> Option<&'a Arc<Replica>> {
    let (first, second) = (expected(one, now)?, expected(other, now)?);
    if first.max(second) < first.min(second) * APART {
        return None;
    }
    let cost = |replica: &Replica, latency: f64| {
        latency * replica.in_flight().saturating_add(1) as f64 / f64::from(replica.share().max(1))
    };
    Some(if cost(one, first) <= cost(other, second) { one } else { other })
}

/// The latency to be expected, in nanoseconds. That of a replica without a request fades, so that it gets one now and
/// then and can show that it has become quick; while it has one, it gets no other on such grounds.
fn expected(replica: &Replica, now: Moment) -> Option<f64> {
    let cell = replica.latency_cell();
    let average = cell.average.load(Ordering::Relaxed);
    if average == 0 {
        return None;
    }
    if replica.in_flight() > 0 {
        return Some(average as f64);
    }
    Some(average as f64 * remembered(now.0.saturating_sub(cell.at.load(Ordering::Relaxed))))
}

/// How much of its say an average keeps over so many nanoseconds.
fn remembered(elapsed: u64) -> f64 {
    (-(elapsed as f64) / TAU.as_nanos() as f64).exp()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
