//! What happens in a Swarm, under load, and what it costs clients of evenkeel and of its peers: `just swarm`; the method
//! is in docs/reliability.md.
//!
//! - [`site`]: a lab's Swarm with the replicas, the [`system`] before them, and the clients.
//! - [`event`]: what is done to it; [`step`] stages one, does the same to a bystander, and then nothing for as long.
//! - [`order`], [`slowest`]: what became of the tasks, and where the slowest requests were.
//! - [`report`]: the tables; [`verdict`]: whether a change cost more than the machine did.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod event;
mod order;
mod report;
mod site;
mod slowest;
mod step;
mod system;
mod verdict;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use integration_tests::lab::{Lab, Plan};
use integration_tests::{Result, exit_code, load, process};

use event::Event;
use report::Report;
use site::Site;
use system::System;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    #[command(hide = true)]
    Load(load::Plan),
}

#[derive(Args)]
struct Options {
    /// Only these events
    #[arg(long, value_delimiter = ',')]
    only: Vec<Event>,
    /// How often to stage each; what is told of latency is the middle of them
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Leave out the time in which the same is done to a bystander
    #[arg(long)]
    no_control: bool,
    /// Docker on one core; clients, system and replicas on the other. Then little of what it costs that containers start and
    /// stop is in the latencies, and what a change costs the data path is
    #[arg(long)]
    apart: bool,
    /// What is between the clients and the replicas; several are compared
    #[arg(long = "system", value_delimiter = ',', default_value = "evenkeel")]
    systems: Vec<System>,
    /// What is random follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Clients, each with one request at a time
    #[arg(long, default_value_t = 16)]
    connections: u64,
    /// A variable for evenkeel, such as EVENKEEL_POLICY=round-robin; repeatable
    #[arg(long)]
    evenkeel_env: Vec<String>,
    #[arg(long, default_value = "evenkeel:local")]
    image: String,
    #[arg(long, default_value = "evenkeel-replica:local")]
    replica_image: String,
    /// For logs, records and results
    #[arg(long, default_value = "target/swarm")]
    scratch: PathBuf,
}

/// With `--apart`, the core of what a request passes, and that of all the rest.
const OF_REQUESTS: usize = 0;
const OF_DOCKER: usize = 1;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Load(plan)) => load::run(plan).map(|()| true),
        None => compare(&arguments.options),
    };
    let code = |is_kept| if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    exit_code("swarm", outcome.map(code))
}

impl Options {
    /// A program that requests pass, as `prepare` prepares it.
    fn place(&self, program: &OsStr, prepare: impl FnOnce(&OsStr) -> std::process::Command) -> std::process::Command {
        if !self.apart {
            return prepare(program);
        }
        let mut command = prepare("taskset".as_ref());
        command.args(["--cpu-list", &OF_REQUESTS.to_string()]).arg(program);
        command
    }
}

/// Each system in a lab of its own. Whether evenkeel kept its promises.
fn compare(options: &Options) -> Result<bool> {
    fs::create_dir_all(&options.scratch)?;
    if options.apart {
        // All that is started from here inherits it.
        process::stay_on(OF_DOCKER)?;
    }
    let mut report = Report::new();
    for system in &options.systems {
        Lab::with(&Plan { images: &[], ..Plan::default() }, async |lab| {
            lab.load(&[&options.image, &options.replica_image]);
            let told = all(options, lab, *system, &mut report).await;
            told.map_err(|error| error.to_string())
        })?;
        report.save(&options.scratch)?;
    }
    report.conclude();
    Ok(report.is_kept())
}

async fn all(options: &Options, lab: &mut Lab, system: System, report: &mut Report) -> Result<()> {
    let mut site = Site::begin(options, lab, system).await?;
    let events = if options.only.is_empty() { Event::all() } else { options.only.clone() };
    let all = (0..options.rounds).flat_map(|round| events.iter().map(move |event| (round, *event)));
    for (step, (round, event)) in (1..).zip(all) {
        report.add(step::run(&mut site, options, event, round, step * 3).await?);
        report.save(&options.scratch)?;
    }
    site.save_logs()
}
