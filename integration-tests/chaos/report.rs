//! Tables for people, `results.json` for programs.

use std::fs;
use std::path::Path;

use integration_tests::Result;
use serde::Serialize;

use crate::judge::Outcome;
use crate::system::{System, Vitals};

/// What the middle of a long run's steps may move by, in memory and in descriptors.
const RESIDENT_KIB: usize = 2 * 1024;
const OPEN: usize = 64;

/// All that came of a run.
#[derive(Serialize)]
pub(crate) struct Report {
    seed: u64,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        println!(
            "| system | fault | requests | failed GET, PUT | failed POST | excused | p99.9 ms | worst ms | worst POST ms | recovered s | RSS MiB | |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
        Self { seed, outcomes: Vec::new() }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        let kept = match (outcome.system, outcome.complaints.is_empty()) {
            (System::Evenkeel, true) => "kept",
            (System::Evenkeel, false) => "NOT KEPT",
            _ => "",
        };
        let resident = outcome.vitals.map(|vitals| vitals.map_or(0.0, |vitals| vitals.resident_kib as f64 / 1024.0));
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.1} | {:.0} | {:.0} | {:.1} | {:.1} → {:.1} | {kept} |",
            outcome.system.name(),
            outcome.fault.name(),
            outcome.requests,
            outcome.failed_idempotent,
            outcome.failed_posts,
            outcome.excused,
            outcome.idempotent.p999,
            outcome.idempotent.worst,
            outcome.posts.worst,
            outcome.recovered_ms as f64 / 1_000.0,
            resident[0],
            resident[1],
        );
        for note in &outcome.notes {
            println!("  {note}");
        }
        if outcome.system == System::Evenkeel {
            for complaint in &outcome.complaints {
                println!("  ! {complaint}");
            }
        }
        self.outcomes.push(outcome);
    }

    /// Whether evenkeel kept every promise.
    pub(crate) fn is_kept(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.system != System::Evenkeel || outcome.complaints.is_empty())
    }

    /// Memory and descriptors of a long run: the middle of its first third and of its last. Whether they stayed.
    pub(crate) fn is_flat(&self) -> bool {
        let of = |figure: fn(&Vitals) -> usize| -> Vec<usize> {
            self.outcomes.iter().filter_map(|outcome| outcome.vitals[1].as_ref().map(figure)).collect()
        };
        let resident = thirds(&of(|vitals| usize::try_from(vitals.resident_kib).unwrap_or(usize::MAX)));
        let open = thirds(&of(|vitals| vitals.descriptors));
        let (Some(resident), Some(open)) = (resident, open) else { return true };
        println!("\nfrom the first third of the steps to the last, in the middle:");
        println!("  resident {} → {} KiB, descriptors {} → {}", resident.0, resident.1, open.0, open.1);
        resident.1 <= resident.0 + RESIDENT_KIB && open.1 <= open.0 + OPEN
    }

    /// Fault by system, if there is more than one: failed of all, worst latency, time to recover.
    pub(crate) fn compare(&self) {
        let mut systems: Vec<_> = self.outcomes.iter().map(|outcome| outcome.system).collect();
        systems.dedup();
        if systems.len() < 2 {
            return;
        }
        println!("\nfailed of all requests · worst ms, failures included · recovered after s\n");
        let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
        println!("| fault | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        let mut faults: Vec<_> = Vec::new();
        for outcome in &self.outcomes {
            if !faults.contains(&outcome.fault) {
                faults.push(outcome.fault);
            }
        }
        for fault in faults {
            let cells = systems.iter().map(|system| {
                let found = self.outcomes.iter().find(|o| o.fault == fault && o.system == *system);
                found.map_or_else(|| "–".to_owned(), cell)
            });
            println!("| {} | {} |", fault.name(), cells.collect::<Vec<_>>().join(" | "));
        }
    }

    pub(crate) fn save(&self, scratch: &Path) -> Result<()> {
        Ok(fs::write(scratch.join("results.json"), serde_json::to_vec_pretty(self)?)?)
    }
}

/// The medians of the first and of the last third.
fn thirds(figures: &[usize]) -> Option<(usize, usize)> {
    let third = figures.len().div_ceil(3);
    let median = |figures: &[usize]| {
        let mut sorted = figures.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    };
    Some((median(figures.get(..third)?)?, median(figures.get(figures.len() - third..)?)?))
}

fn cell(outcome: &Outcome) -> String {
    let failed = outcome.failed_idempotent + outcome.failed_posts;
    let worst = outcome.idempotent.worst.max(outcome.posts.worst);
    let wrong = if outcome.wrong == 0 { String::new() } else { format!(" and {} wrong", outcome.wrong) };
    format!("{failed}{wrong} of {} · {worst:.0} · {:.1}", outcome.requests, outcome.recovered_ms as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thirds_of_a_run_are_compared_by_their_medians() {
        assert_eq!(thirds(&[]), None);
        assert_eq!(thirds(&[5]), Some((5, 5)));
        assert_eq!(thirds(&[1, 9, 2, 50, 60, 70, 3, 8, 4]), Some((2, 4)));
    }
}
