//! Tables for people, `results.json` for programs.

use std::fs;
use std::path::Path;

use integration_tests::Result;
use serde::Serialize;

use crate::judge::Outcome;
use crate::system::System;

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

fn cell(outcome: &Outcome) -> String {
    let failed = outcome.failed_idempotent + outcome.failed_posts;
    let worst = outcome.idempotent.worst.max(outcome.posts.worst);
    format!("{failed} of {} · {worst:.0} · {:.1}", outcome.requests, outcome.recovered_ms as f64 / 1_000.0)
}
