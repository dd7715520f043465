//! Tables for people, `results.json` for programs.

use std::fs;

use serde::Serialize;

use crate::Result;
use crate::contender::{Contender, Site};
use crate::idle::Idle;
use crate::load::Sample;
use crate::summary::Summary;
use crate::syscalls::Syscalls;
use crate::workload::Workload;

/// All that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    versions: Vec<String>,
    cpu: String,
    kernel: String,
    /// How busy the machine was before: with 1.0, something else used a core.
    load_average: f64,
    rounds: u32,
    seconds: u32,
    workloads: Vec<Measured>,
    idle: Vec<Idle>,
    syscalls: Vec<Syscalls>,
}

#[derive(Serialize)]
struct Measured {
    name: &'static str,
    what: &'static str,
    /// Of each turn.
    seconds: u32,
    contenders: Vec<Carried>,
    /// evenkeel's ratio to HAProxy with splice.
    to_splice: Option<Summary>,
}

/// What one contender did with one workload, round by round.
#[derive(Serialize)]
pub(crate) struct Carried {
    contender: Contender,
    cpu_us: Vec<f64>,
    waited_percent: Vec<f64>,
    requests_per_second: Vec<f64>,
    p99_us: Vec<f64>,
    errors: u64,
    pub(crate) resident_kib: u64,
    /// Median, least and greatest of the rounds' ratios to HAProxy, nginx, the relay and the other build.
    to_haproxy: Option<Summary>,
    to_nginx: Option<Summary>,
    to_relay: Option<Summary>,
    to_before: Option<Summary>,
}

impl Carried {
    pub(crate) fn new(contender: Contender) -> Self {
        Self {
            contender,
            cpu_us: Vec::new(),
            waited_percent: Vec::new(),
            requests_per_second: Vec::new(),
            p99_us: Vec::new(),
            errors: 0,
            resident_kib: 0,
            to_haproxy: None,
            to_nginx: None,
            to_relay: None,
            to_before: None,
        }
    }

    pub(crate) fn add(&mut self, sample: &Sample) {
        self.cpu_us.push(sample.cpu_us);
        self.waited_percent.push(sample.waited_percent);
        self.requests_per_second.push(sample.requests_per_second);
        self.p99_us.extend(sample.p99_us.map(|micros| micros as f64));
        self.errors += sample.errors;
    }
}

impl Report {
    pub(crate) fn begin(site: &Site, contenders: &[Contender], rounds: u32, seconds: u32) -> Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg")?;
        let report = Self {
            versions: contenders
                .iter()
                .map(|contender| contender.version(site))
                .filter(|said| !said.is_empty())
                .collect(),
            cpu: cpu.map_or_else(String::new, |(_, model)| model.to_owned()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load_average: load.split_whitespace().next().unwrap_or_default().parse()?,
            rounds,
            seconds,
            workloads: Vec::new(),
            idle: Vec::new(),
            syscalls: Vec::new(),
        };
        println!(
            "{}\n{} · Linux {} · load {}",
            report.versions.join("\n"),
            report.cpu,
            report.kernel,
            report.load_average
        );
        if report.load_average > 0.3 {
            println!("The machine is busy with something else: expect noise.");
        }
        println!(
            "CPU µs a request and ratios: median (least–greatest) of {rounds} rounds of {seconds} s each, or longer."
        );
        Ok(report)
    }

    pub(crate) fn add(&mut self, workload: &Workload, mut carried: Vec<Carried>) {
        let of = |contender| {
            let found = carried.iter().find(|carried| carried.contender == contender);
            found.map(|carried| carried.cpu_us.clone()).unwrap_or_default()
        };
        let (haproxy, nginx, relay) = (of(Contender::Haproxy), of(Contender::Nginx), of(Contender::Relay));
        let before = of(Contender::Before);
        let to_splice = Summary::of_ratios(&of(Contender::Evenkeel), &of(Contender::HaproxySplice));
        for carried in &mut carried {
            carried.to_haproxy = Summary::of_ratios(&carried.cpu_us, &haproxy);
            carried.to_nginx = Summary::of_ratios(&carried.cpu_us, &nginx);
            carried.to_relay = Summary::of_ratios(&carried.cpu_us, &relay);
            carried.to_before = Summary::of_ratios(&carried.cpu_us, &before);
        }
        let seconds = workload.turn(self.seconds);
        println!("\n{}: {}, {seconds} s\n", workload.name, workload.what);
        println!(
            "| contender | CPU µs/request | ÷ haproxy | ÷ nginx | ÷ relay | ÷ before | waited % | requests/s | p99 µs | errors \
             | RSS MB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        for carried in &carried {
            println!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} |",
                carried.contender.name(),
                cell(Summary::of(&carried.cpu_us), 1),
                cell(carried.to_haproxy, 2),
                cell(carried.to_nginx, 2),
                cell(carried.to_relay, 2),
                cell(carried.to_before, 2),
                middle(&carried.waited_percent),
                middle(&carried.requests_per_second),
                middle(&carried.p99_us),
                carried.errors,
                carried.resident_kib as f64 / 1024.0,
            );
        }
        if to_splice.is_some() {
            println!("\nevenkeel ÷ haproxy-splice: {}", cell(to_splice, 2));
        }
        let (name, what) = (workload.name, workload.what);
        self.workloads.push(Measured { name, what, seconds, contenders: carried, to_splice });
    }

    pub(crate) fn add_idle(&mut self, idle: Vec<Idle>) {
        if idle.is_empty() {
            return;
        }
        println!("\nidle: {} keep-alive clients that made one request each\n", crate::idle::CLIENTS);
        println!("| contender | RSS MB without | RSS MB with them | KiB a client |\n|---|---|---|---|");
        for idle in &idle {
            let (before, with) = (idle.before_kib as f64, idle.with_clients_kib as f64);
            let each = (with - before) / crate::idle::CLIENTS as f64;
            println!("| {} | {:.1} | {:.1} | {each:.1} |", idle.contender.name(), before / 1024.0, with / 1024.0);
        }
        self.idle = idle;
    }

    pub(crate) fn add_syscalls(&mut self, syscalls: Vec<Syscalls>) {
        if syscalls.is_empty() {
            return;
        }
        println!("\nsyscalls: of a request in W1, under strace\n\n| contender | in all | by name |\n|---|---|---|");
        for found in &syscalls {
            let names: Vec<_> = found.by_name.iter().map(|(name, calls)| format!("{name} {calls:.2}")).collect();
            println!("| {} | {:.2} | {} |", found.contender.name(), found.in_all, names.join(", "));
        }
        self.syscalls = syscalls;
    }

    /// Writes every round so far.
    pub(crate) fn save(&self, site: &Site) -> Result<()> {
        Ok(fs::write(site.scratch.join("results.json"), serde_json::to_vec_pretty(self)?)?)
    }
}

fn cell(summary: Option<Summary>, precision: usize) -> String {
    summary.map_or_else(|| "–".to_owned(), |summary| format!("{summary:.precision$}"))
}

fn middle(figures: &[f64]) -> String {
    Summary::of(figures).map_or_else(|| "–".to_owned(), |summary| format!("{:.0}", summary.median))
}
