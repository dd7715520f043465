//! What a step comes to: figures for every system, and for evenkeel what of its promise was not kept.

use std::collections::{BTreeMap, HashSet};

use integration_tests::load::Latency;
use integration_tests::load::record::{Method, Record};
use integration_tests::load::witness::Witness;
use serde::{Deserialize, Serialize};

use crate::fault::{Excuse, Fault, Story, Struck, Worst};
use crate::system::{System, Vitals};

/// What a request is asked to take, unless the fault needs slow ones.
pub(crate) const USUAL_MS: u64 = 5;
/// Microseconds that an event may be off: what was answered just before the kill may not have got through.
const SLACK: u64 = 100_000;
/// An answer that took longer shows that the fault is not over.
const DISTURBED: u64 = 200_000;
/// The connections of the clients: so many requests can be on their way to a replica when it is struck.
const UNBEGUN: usize = 16;
/// Shares are those of the last moments, in microseconds.
const LAST: u64 = 1_500_000;
/// How far the largest and the smallest share may be apart, of their mean.
const UNEVEN: f64 = 0.4;
/// What a system may have grown by in one step: buffers of the requests it had at once, idle connections to replicas.
const GROWTH_KIB: u64 = 8 * 1024;
const GROWTH_DESCRIPTORS: usize = 200;

/// What was seen of a step.
pub(crate) struct Seen<'a> {
    pub(crate) fault: Fault,
    pub(crate) system: System,
    pub(crate) story: &'a Story,
    pub(crate) records: &'a [Record],
    pub(crate) witness: &'a Witness,
    /// Hostnames of all that were replicas in this step, and of those that are now.
    pub(crate) known: &'a HashSet<String>,
    pub(crate) now: HashSet<String>,
    pub(crate) before: Option<Vitals>,
    pub(crate) after: Option<Vitals>,
    /// What did not come back to 0.
    pub(crate) in_flight: Option<f64>,
    pub(crate) panics: usize,
}

/// What it comes to. Times are in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) fault: Fault,
    pub(crate) system: System,
    pub(crate) requests: usize,
    pub(crate) failed_idempotent: usize,
    pub(crate) failed_posts: usize,
    /// Failures that the promise allows for.
    pub(crate) excused: usize,
    pub(crate) idempotent: Latency,
    pub(crate) posts: Latency,
    pub(crate) fault_ms: u64,
    /// From the fault's beginning to the last answer that failed or was late.
    pub(crate) recovered_ms: u64,
    /// Answers to other requests, and those of containers that are not replicas.
    pub(crate) wrong: usize,
    /// POSTs that were begun more than once.
    pub(crate) doubled_posts: usize,
    /// Idempotent requests that were.
    pub(crate) moved: usize,
    pub(crate) shares: BTreeMap<String, usize>,
    pub(crate) vitals: [Option<Vitals>; 2],
    pub(crate) failures: BTreeMap<String, usize>,
    /// The ids of excused POSTs.
    pub(crate) lost: Vec<u64>,
    /// Those of them that no replica has begun.
    pub(crate) unbegun: usize,
    pub(crate) notes: Vec<String>,
    /// What of the promise was not kept.
    pub(crate) complaints: Vec<String>,
}

impl Seen<'_> {
    /// Judges it.
    pub(crate) fn outcome(&self) -> Outcome {
        let promise = self.fault.promise();
        let of = |idempotent: bool| self.records.iter().filter(move |r| r.method.is_idempotent() == idempotent);
        let latency = |record: &Record| record.latency(USUAL_MS);
        let failed = |idempotent| of(idempotent).filter(|record| record.is_failed()).count();
        let (excused, unexcused): (Vec<_>, Vec<_>) =
            self.records.iter().filter(|record| record.is_failed()).partition(|record| self.excuses(record));
        let disturbed = self.records.iter().filter(|r| r.is_failed() || r.latency(USUAL_MS) > DISTURBED);
        let last = disturbed.map(|record| record.end).max().unwrap_or_default();
        let begun_twice = |record: &&Record| self.witness.starts(record.number).len() > 1;
        let mut failures = BTreeMap::new();
        for failure in self.records.iter().filter_map(|record| record.failure.as_ref()) {
            *failures.entry(kind(failure)).or_default() += 1;
        }
        let mut outcome = Outcome {
            fault: self.fault,
            system: self.system,
            requests: self.records.len(),
            failed_idempotent: failed(true),
            failed_posts: failed(false),
            excused: excused.len(),
            idempotent: Latency::of(of(true).map(latency)),
            posts: Latency::of(of(false).map(latency)),
            fault_ms: (self.story.ended.saturating_sub(self.story.began)) / 1_000,
            recovered_ms: last.saturating_sub(self.story.began) / 1_000,
            wrong: self.records.iter().filter(|record| self.is_wrong(record)).count(),
            doubled_posts: of(false).filter(begun_twice).count(),
            moved: of(true).filter(begun_twice).count(),
            shares: self.shares(),
            vitals: [self.before, self.after],
            failures,
            lost: excused.iter().map(|record| record.number).collect(),
            unbegun: excused.iter().filter(|record| self.witness.starts(record.number).is_empty()).count(),
            notes: self.story.notes.clone(),
            complaints: Vec::new(),
        };
        outcome.complaints = self.complaints(&outcome, &unexcused, promise.worst, promise.p999_ms);
        outcome
    }

    fn complaints(&self, outcome: &Outcome, unexcused: &[&Record], worst: Worst, p999_ms: Option<u64>) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut complain = |is: bool, what: String| complaints.extend(is.then_some(what));
        complain(outcome.requests == 0, "no request was made".to_owned());
        complain(outcome.wrong > 0, format!("{} answers to other requests", outcome.wrong));
        complain(outcome.doubled_posts > 0, format!("{} POSTs were begun twice", outcome.doubled_posts));
        let told: Vec<_> = unexcused.iter().take(5).map(|record| self.tell(record)).collect();
        complain(
            !unexcused.is_empty(),
            format!("{} failed that must not:\n    {}", unexcused.len(), told.join("\n    ")),
        );
        let struck = self.story.struck.len() * UNBEGUN;
        complain(
            outcome.unbegun > struck,
            format!("{} failed that no replica has begun, not {struck}", outcome.unbegun),
        );
        let bound = match worst {
            Worst::Millis(millis) => millis as f64,
            Worst::Fault => (outcome.fault_ms + 1_000) as f64,
        };
        let took = outcome.idempotent.worst;
        complain(took > bound, format!("an idempotent request took {took:.0} ms, not {bound:.0}"));
        let p999 = outcome.idempotent.p999;
        complain(
            p999_ms.is_some_and(|bound| p999 > bound as f64),
            format!("one in a thousand took {p999:.0} ms, not {}", p999_ms.unwrap_or_default()),
        );
        if self.system == System::Evenkeel {
            let left = self.in_flight.map_or_else(|| "nobody says how many".to_owned(), |left| left.to_string());
            complain(self.in_flight != Some(0.0), format!("{left} requests are in flight for ever"));
        }
        complain(self.panics > 0, format!("{} panics in the log", self.panics));
        // The load of a churn ends in the middle of a change: replicas that are new then had no time to get any.
        if self.fault != Fault::Churn {
            let spread = spread(&outcome.shares);
            complain(spread > UNEVEN, format!("shares {:.0} % apart: {:?}", spread * 100.0, outcome.shares));
        }
        if let [Some(before), Some(after)] = outcome.vitals {
            let (rss, grown) = (after.resident_kib, before.resident_kib + GROWTH_KIB);
            complain(rss > grown, format!("{rss} KiB resident after {}", before.resident_kib));
            let (open, bound) = (after.descriptors, before.descriptors + GROWTH_DESCRIPTORS);
            complain(open > bound, format!("{open} descriptors after {}", before.descriptors));
        }
        complaints
    }

    fn is_wrong(&self, record: &Record) -> bool {
        let strange = |replica: &str| !replica.is_empty() && !self.known.contains(replica);
        let starts = self.witness.starts(record.number);
        record.is_wrong || strange(&record.replica) || starts.iter().any(|s| strange(self.witness.replica(s)))
    }

    /// Whether the promise allows for this failure.
    fn excuses(&self, record: &Record) -> bool {
        if record.is_wrong {
            return false;
        }
        match self.fault.promise().excuse {
            Excuse::Nothing => false,
            Excuse::Unbegun if !self.witness.starts(record.number).is_empty() => false,
            Excuse::OnStruck | Excuse::Unbegun => {
                record.method == Method::Post && self.story.struck.iter().any(|struck| self.was_on(record, struck))
            }
        }
    }

    /// Whether a request was on a replica when it was struck: begun there and not ended well before.
    ///
    /// One that no replica has begun may have been sent there, too: its bytes die with the socket that they wait in. No
    /// log can show it, so that they are counted, and bounded by how many can be under way.
    fn was_on(&self, record: &Record, struck: &Struck) -> bool {
        let overlaps = record.start <= struck.until.saturating_add(SLACK) && record.end + SLACK >= struck.from;
        let starts = self.witness.starts(record.number);
        let there = starts.iter().any(|start| {
            let open = start.end.is_none_or(|end| end + SLACK >= struck.from);
            self.witness.replica(start) == struck.replica && open
        });
        overlaps && (there || (starts.is_empty() && matches!(record.status, 0 | 502)))
    }

    fn tell(&self, record: &Record) -> String {
        let starts = self.witness.starts(record.number).iter().map(|start| {
            let took = start.end.map_or_else(|| "never ended".to_owned(), |end| format!("{} µs", end - start.start));
            format!("begun on {} ({took})", self.witness.replica(start))
        });
        let starts: Vec<_> = starts.collect();
        format!(
            "{} {} at {:+} ms for {} ms{}: {}; {}",
            record.method.name(),
            record.number,
            (record.start.cast_signed() - self.story.began.cast_signed()) / 1_000,
            record.end.saturating_sub(record.start) / 1_000,
            if record.reused { "" } else { " on a new connection" },
            record.failure.as_deref().unwrap_or_default(),
            if starts.is_empty() { "never begun".to_owned() } else { starts.join(", ") }
        )
    }

    /// How many requests each of today's replicas answered in the last moments.
    fn shares(&self) -> BTreeMap<String, usize> {
        let mut shares: BTreeMap<_, _> = self.now.iter().map(|replica| (replica.clone(), 0)).collect();
        let end = self.records.iter().map(|record| record.end).max().unwrap_or_default();
        for record in self.records.iter().filter(|record| record.start + LAST > end && !record.is_failed()) {
            if let Some(share) = shares.get_mut(&record.replica) {
                *share += 1;
            }
        }
        shares
    }
}

/// A failure without what differs from one to the next.
fn kind(failure: &str) -> String {
    failure.chars().take(60).collect::<String>().trim().to_owned()
}

fn spread(shares: &BTreeMap<String, usize>) -> f64 {
    let (Some(most), Some(least)) = (shares.values().max(), shares.values().min()) else { return 0.0 };
    let mean = shares.values().sum::<usize>() as f64 / shares.len() as f64;
    if mean == 0.0 { 0.0 } else { (most - least) as f64 / mean }
}

#[cfg(test)]
mod tests;
