//! Tables for people, `results.json` for programs.

use std::fs;
use std::path::Path;

use integration_tests::Result;
use serde::Serialize;

use crate::order::Spread;
use crate::step::{Got, Outcome};
use crate::system::System;

/// From ready to the first request, of evenkeel.
const FIRST_MS: f64 = 300.0;

/// All that came of a run.
#[derive(Serialize)]
pub(crate) struct Report {
    outcomes: Vec<Outcome>,
}

impl Report {
    pub(crate) fn new() -> Self {
        println!("| system | event | s | requests | failed | p50 ms | p99 ms | p99.9 ms | worst ms | |");
        println!("|---|---|---|---|---|---|---|---|---|---|");
        Self { outcomes: Vec::new() }
    }

    pub(crate) fn add(&mut self, outcome: Outcome) {
        let complaints = complaints(&outcome);
        let kept = match (outcome.system, complaints.is_empty()) {
            (System::Evenkeel, true) => "kept",
            (System::Evenkeel, false) => "NOT KEPT",
            _ => "",
        };
        row(&outcome, &outcome.event.name(), &outcome.with, kept);
        if let Some(calm) = &outcome.calm {
            row(&outcome, "as long, nothing done", calm, "");
        }
        let order = &outcome.order;
        println!(
            "  stopped {}: drained {} before SIGTERM, last request {} before it, {} requests after it",
            order.stopped,
            spread(order.drained_before),
            spread(order.last_before),
            order.late
        );
        println!(
            "  new {}, {} of them unused: first request {} after ready",
            order.new,
            order.unused,
            spread(order.first_after)
        );
        for line in order.examples.iter().chain(&outcome.with.failures) {
            println!("  {line}");
        }
        if outcome.system == System::Evenkeel {
            for complaint in complaints {
                println!("  ! {complaint}");
            }
        }
        self.outcomes.push(outcome);
    }

    /// Whether evenkeel kept every promise.
    pub(crate) fn is_kept(&self) -> bool {
        let ours = self.outcomes.iter().filter(|outcome| outcome.system == System::Evenkeel);
        ours.flat_map(complaints).next().is_none()
    }

    /// Event by system, if there is more than one.
    pub(crate) fn compare(&self) {
        let mut systems: Vec<_> = self.outcomes.iter().map(|outcome| outcome.system).collect();
        systems.dedup();
        let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
        let mut events: Vec<_> = Vec::new();
        for outcome in &self.outcomes {
            if !events.contains(&outcome.event) {
                events.push(outcome.event);
            }
        }
        let find = |event, system| self.outcomes.iter().find(|o| o.event == event && o.system == system);
        println!("\nfailed of all requests · p99.9 ms · worst ms; in brackets p99.9 and worst with nothing done\n");
        println!("| event | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for event in &events {
            let cells: Vec<_> =
                systems.iter().map(|system| find(*event, *system).map_or("–".to_owned(), cell)).collect();
            println!("| {} | {} |", event.name(), cells.join(" | "));
        }
        println!("\nlast request before SIGTERM, and requests after it · first request after ready: least–most ms\n");
        println!("| event | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for event in &events {
            let cells = systems.iter().map(|system| {
                find(*event, *system).map_or("–".to_owned(), |outcome| {
                    let order = &outcome.order;
                    format!("{}, {} · {}", spread(order.last_before), order.late, spread(order.first_after))
                })
            });
            println!("| {} | {} |", event.name(), cells.collect::<Vec<_>>().join(" | "));
        }
    }

    pub(crate) fn save(&self, scratch: &Path) -> Result<()> {
        Ok(fs::write(scratch.join("results.json"), serde_json::to_vec_pretty(self)?)?)
    }
}

/// What of the promise was not kept. Latencies with nothing done are told beside, and not judged: they are chance, too.
fn complaints(outcome: &Outcome) -> Vec<String> {
    let (with, order) = (&outcome.with, &outcome.order);
    let mut complaints = Vec::new();
    let mut complain = |is: bool, what: String| complaints.extend(is.then_some(what));
    complain(with.requests == 0, "no request was made".to_owned());
    complain(with.failed > 0, format!("{} failed", with.failed));
    if let Some(bound) = outcome.event.worst() {
        let took = with.latency.worst;
        complain(took > bound, format!("a request took {took:.0} ms, not {bound:.0}"));
    }
    if outcome.event.is_planned() {
        complain(order.late > 0, format!("{} requests went to tasks that had got SIGTERM", order.late));
        let first = order.first_after.map_or(0.0, |spread| spread.most);
        complain(first > FIRST_MS, format!("a new task waited {first:.0} ms for its first request"));
    }
    complaints
}

fn row(outcome: &Outcome, what: &str, got: &Got, kept: &str) {
    let Got { seconds, requests, failed, latency, .. } = got;
    println!(
        "| {} | {what} | {seconds:.0} | {requests} | {failed} | {:.1} | {:.1} | {:.1} | {:.0} | {kept} |",
        outcome.system.name(),
        latency.p50,
        latency.p99,
        latency.p999,
        latency.worst
    );
}

fn cell(outcome: &Outcome) -> String {
    let Got { requests, failed, latency, .. } = &outcome.with;
    let calm = outcome.calm.as_ref().map(|calm| format!(" ({:.1} · {:.0})", calm.latency.p999, calm.latency.worst));
    format!("{failed} of {requests} · {:.1} · {:.0}{}", latency.p999, latency.worst, calm.unwrap_or_default())
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or("–".to_owned(), |spread| format!("{:.0}–{:.0} ms", spread.least, spread.most))
}
