//! Tables for people, `results.json` for programs.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use integration_tests::Result;
use serde::Serialize;

use crate::event::Event;
use crate::order::Spread;
use crate::step::{Got, Outcome};
use crate::system::System;
use crate::verdict::{Higher, Tail};

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
        if let Some(bystander) = &outcome.bystander {
            row(&outcome, "the same to a bystander", bystander, "");
        }
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
        for line in &outcome.with.slowest {
            println!("  slow: {line}");
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

    /// What it comes to: latencies beside those of the other times, and event by system.
    pub(crate) fn conclude(&self) {
        println!("\n{}", latencies(&self.outcomes));
        println!("\n{}", by_system(&self.outcomes, "failed of all requests · p99.9 ms · worst ms", cell));
        let what = "last request before SIGTERM, and requests after it · first request after ready: least–most ms";
        println!("\n{}", by_system(&self.outcomes, what, order));
    }

    pub(crate) fn save(&self, scratch: &Path) -> Result<()> {
        Ok(fs::write(scratch.join("results.json"), serde_json::to_vec_pretty(self)?)?)
    }
}

/// What of the promise was not kept. Latencies of the times beside it are told beside: see [`latencies`].
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

/// p99.9 and the worst of each event beside those of the same time with a bystander and with nothing done. The last are
/// told and not judged by the promises: with one round they are chance, too. Of several it is said in how many they were
/// higher than in the same round's time beside it.
fn latencies(outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "p99.9 · worst ms, of several rounds the middle, and how many of them were higher\n\n\
         | system | event | rounds | nothing done | the same to a bystander | event | than with a bystander | than with nothing done |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (system, event) in staged(outcomes) {
        let rounds: Vec<_> = of(outcomes, event, system).collect();
        let tails = |of: fn(&Outcome) -> Option<&Got>| -> Vec<Option<Tail>> {
            rounds.iter().map(|round| of(round).map(|got| Tail::of(&got.latency))).collect()
        };
        let calm = tails(|round| round.calm.as_ref());
        let bystander = tails(|round| round.bystander.as_ref());
        let with = tails(|round| Some(&round.with));
        let cells = [
            system.name().to_owned(),
            event.name(),
            rounds.len().to_string(),
            text(middle(&calm)),
            text(middle(&bystander)),
            text(middle(&with)),
            text(beside(&with, &bystander)),
            text(beside(&with, &calm)),
        ];
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    table
}

fn middle(rounds: &[Option<Tail>]) -> Option<Tail> {
    Tail::middle(&rounds.iter().flatten().copied().collect::<Vec<_>>())
}

/// The verdict on the middle of all rounds, and in how many it was higher.
fn beside(rounds: &[Option<Tail>], others: &[Option<Tail>]) -> Option<String> {
    let verdict = middle(rounds)?.beside(&middle(others)?);
    let pairs: Vec<_> = rounds.iter().zip(others).filter_map(|(round, other)| round.zip(*other)).collect();
    Some(format!("{verdict}: {}", Higher::of(&pairs)))
}

/// What was staged of what, each once.
fn staged(outcomes: &[Outcome]) -> Vec<(System, Event)> {
    let mut staged = Vec::new();
    for outcome in outcomes {
        if !staged.contains(&(outcome.system, outcome.event)) {
            staged.push((outcome.system, outcome.event));
        }
    }
    staged
}

fn of(outcomes: &[Outcome], event: Event, system: System) -> impl Iterator<Item = &Outcome> {
    outcomes.iter().filter(move |outcome| outcome.event == event && outcome.system == system)
}

/// A column for each system and a line for each event; its rounds one after the other.
fn by_system(outcomes: &[Outcome], what: &str, cell: impl Fn(&Outcome) -> String) -> String {
    let (mut systems, mut events) = (Vec::new(), Vec::new());
    for (system, event) in staged(outcomes) {
        if !systems.contains(&system) {
            systems.push(system);
        }
        if !events.contains(&event) {
            events.push(event);
        }
    }
    let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
    let mut table = format!("{what}\n\n| event | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for event in events {
        let cells = systems.iter().map(|system| {
            let rounds: Vec<_> = of(outcomes, event, *system).map(&cell).collect();
            if rounds.is_empty() { "–".to_owned() } else { rounds.join("; ") }
        });
        table.push_str(&format!("| {} | {} |\n", event.name(), cells.collect::<Vec<_>>().join(" | ")));
    }
    table
}

fn cell(outcome: &Outcome) -> String {
    let Got { requests, failed, latency, .. } = &outcome.with;
    format!("{failed} of {requests} · {}", Tail::of(latency))
}

fn order(outcome: &Outcome) -> String {
    let order = &outcome.order;
    format!("{}, {} · {}", spread(order.last_before), order.late, spread(order.first_after))
}

fn text(told: Option<impl Display>) -> String {
    told.map_or("–".to_owned(), |told| told.to_string())
}

fn spread(spread: Option<Spread>) -> String {
    spread.map_or("–".to_owned(), |spread| format!("{:.0}–{:.0} ms", spread.least, spread.most))
}

#[cfg(test)]
mod tests {
    use integration_tests::load::Latency;

    use super::*;
    use crate::order::Order;

    fn got(p999: f64, worst: f64) -> Got {
        let latency = Latency { p999, worst, ..Latency::default() };
        Got { seconds: 1.0, requests: 9, failed: 0, latency, failures: Vec::new(), slowest: Vec::new() }
    }

    fn outcome(event: Event, with: Got, bystander: Option<Got>, calm: Option<Got>) -> Outcome {
        Outcome { event, system: System::Evenkeel, with, bystander, calm, order: Order::default() }
    }

    fn last_line(table: &str) -> &str {
        table.trim_end().lines().last().unwrap()
    }

    #[test]
    fn an_event_is_told_beside_a_bystander_and_beside_nothing() {
        let scale = outcome(Event::Scale, got(94.0, 108.0), Some(got(95.0, 107.0)), Some(got(10.4, 13.0)));
        assert_eq!(
            last_line(&latencies(&[scale])),
            "| evenkeel | scale | 1 | 10.4 · 13 | 95.0 · 107 | 94.0 · 108 | worst HIGHER: 0 · 1 of 1 | HIGHER: 1 · 1 of 1 |"
        );
        let cut = outcome(Event::Cut, got(27.1, 1_484.0), None, None);
        assert_eq!(last_line(&latencies(&[cut])), "| evenkeel | cut | 1 | – | – | 27.1 · 1484 | – | – |");
    }

    #[test]
    fn rounds_are_told_by_their_middle_and_one_by_one() {
        let round = |worst| outcome(Event::Scale, got(9.0, worst), Some(got(9.0, 30.0)), None);
        let rounds = [round(20.0), round(200.0), round(30.0)];
        assert_eq!(
            last_line(&latencies(&rounds)),
            "| evenkeel | scale | 3 | – | 9.0 · 30 | 9.0 · 30 | no higher: 0 · 1 of 3 | – |"
        );
        let haproxy = Outcome { system: System::Haproxy, event: Event::Drain, ..round(1.0) };
        let all: Vec<_> = rounds.into_iter().chain([haproxy]).collect();
        let table = by_system(&all, "worst", |outcome| outcome.with.latency.worst.to_string());
        assert_eq!(
            table,
            "worst\n\n| event | evenkeel | haproxy |\n|---|---|---|\n| scale | 20; 200; 30 | – |\n| drain | – | 1 |\n"
        );
    }

    #[test]
    fn a_promise_that_was_not_kept_is_complained_of() {
        let said = |outcome: Outcome| complaints(&outcome).join(", ");
        let bad = |with, order| Outcome { order, ..outcome(Event::Scale, with, None, None) };
        let late = Order { late: 2, ..Order::default() };
        assert_eq!(said(bad(got(94.0, 500.0), Order::default())), "");
        assert_eq!(said(bad(got(9.0, 9.0), late)), "2 requests went to tasks that had got SIGTERM");
        assert_eq!(said(bad(Got { failed: 1, ..got(9.0, 9.0) }, Order::default())), "1 failed");
        let killed = |worst| outcome(Event::KillDaemon, got(9.0, worst), None, None);
        assert_eq!(
            (said(killed(200.0)), said(killed(219.4))),
            (String::new(), "a request took 219 ms, not 200".into())
        );
    }
}
