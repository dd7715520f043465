//! The rounds: in each, every contender carries the same load, one after the other.

use std::path::PathBuf;
use std::{fs, thread};

use clap::Args;

use crate::contender::{self, Contender, Others, Running, Site, shipped};
use crate::load::{self, Sample};
use crate::process::Place;
use crate::report::{Carried, Report};
use crate::workload::{WORKLOADS, Workload};
use crate::{Result, idle, procfs, syscalls};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds of each workload: many short ones see the same disturbances
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each contender's turn in a round
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Some of W1,W2,W3,W4,W5,paced,workers,clients,idle,syscalls [default: all]
    #[arg(long, value_delimiter = ',', value_parser = part)]
    only: Vec<String>,
    /// Who takes part [default: all]; ratios need haproxy
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// The program to measure
    #[arg(long, default_value_os_t = shipped())]
    evenkeel: PathBuf,
    /// Another build of it, which takes part too: what a change does, seen in the same rounds
    #[arg(long)]
    before: Option<PathBuf>,
    #[command(flatten)]
    others: Others,
    /// For configurations, logs and results.json
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
}

const IDLE: &str = "idle";
const SYSCALLS: &str = "syscalls";

fn part(name: &str) -> std::result::Result<String, String> {
    let known = WORKLOADS.iter().map(|workload| workload.name).chain([IDLE, SYSCALLS]);
    let found = known.into_iter().find(|known| known.eq_ignore_ascii_case(name));
    found.map(str::to_owned).ok_or_else(|| "there is no such workload".to_owned())
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }

    fn contenders(&self) -> Vec<Contender> {
        let asked = &self.contenders[..];
        let named = if asked.is_empty() { <Contender as clap::ValueEnum>::value_variants() } else { asked };
        named.iter().copied().chain(self.before.as_ref().map(|_| Contender::Before)).collect()
    }
}

/// Measures; prints a table after each part, and writes what there is so far to `results.json`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if thread::available_parallelism()?.get() < 2 {
        return Err("one core is for the contender, another for clients and replicas: there are not two".into());
    }
    fs::create_dir_all(&options.scratch)?;
    let (evenkeel, before, others) = (options.evenkeel.clone(), options.before.clone(), options.others.clone());
    let site = Site { scratch: options.scratch.canonicalize()?, evenkeel, before, others };
    let contenders = options.contenders();
    let mut report = Report::begin(&site, &contenders, options.rounds, options.seconds)?;
    for workload in WORKLOADS.iter().filter(|workload| options.wants(workload.name)) {
        let carried = rounds(&site, &contenders, workload, options)?;
        report.add(workload, carried);
        report.save(&site)?;
    }
    if options.wants(IDLE) {
        report.add_idle(idle::measure(&site, &contenders)?);
        report.save(&site)?;
    }
    if options.wants(SYSCALLS) {
        report.add_syscalls(syscalls::measure(&site, &contenders)?);
        report.save(&site)?;
    }
    Ok(())
}

fn rounds(site: &Site, contenders: &[Contender], workload: &Workload, options: &Options) -> Result<Vec<Carried>> {
    // Outlives the contenders, which would miss it.
    let _replicas = contender::start_replicas(site, workload.place(Place::Others))?;
    let suited = contenders.iter().filter(|contender| workload.suits(**contender));
    let running = suited.map(|contender| contender.start(site, workload)).collect::<Result<Vec<Running>>>()?;
    for running in &running {
        // Fills pools, caches and the branch predictor; not counted.
        load::measure(site, running, workload, workload.least_seconds)?;
    }
    let mut carried: Vec<Carried> = running.iter().map(|running| Carried::new(running.contender)).collect();
    for round in 0..options.rounds as usize {
        for turn in 0..running.len() {
            // Each round begins with another one, so that none always follows the same.
            let index = (round + turn) % running.len();
            let (Some(running), Some(carried)) = (running.get(index), carried.get_mut(index)) else { continue };
            let sample: Sample = load::measure(site, running, workload, workload.turn(options.seconds))?;
            carried.add(&sample);
        }
    }
    for (carried, running) in carried.iter_mut().zip(&running) {
        carried.resident_kib = procfs::resident(running.process.pid())?;
    }
    Ok(carried)
}
