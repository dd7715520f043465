//! Faults on the real Docker engine, under load, and what they cost clients of evenkeel and of its peers: `just chaos`;
//! the method is in docs/reliability.md.
//!
//! - [`load`]: clients whose every request has an id, a process of its own.
//! - [`site`]: the network, the replicas, and the [`system`] between them and the clients; [`container`]s through the
//!   [`engine`]'s API, and the engine's socket through a [`relay`].
//! - [`fault`]: what is done, and what may be lost of it; [`step`] stages one.
//! - [`judge`]: what all of it comes to; [`report`]: the tables.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod container;
mod engine;
mod fault;
mod judge;
mod relay;
mod report;
mod site;
mod step;
mod system;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use fastrand::Rng;
use integration_tests::{Result, exit_code, load};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use container::Run;
use fault::Fault;
use report::Report;
use site::Site;
use system::System;

/// How long the engine may take to end what it was asked for when a run ended early.
const STARTING: Duration = Duration::from_secs(3);

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
    /// Only these faults
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// What is between the clients and the replicas; several are compared
    #[arg(long = "system", value_delimiter = ',', default_value = "evenkeel")]
    systems: Vec<System>,
    /// What is random follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Faults drawn at random for so long, against the same evenkeel
    #[arg(long)]
    minutes: Option<u64>,
    /// So many requests while the service scales, restarts and rolls
    #[arg(long)]
    requests: Option<u64>,
    /// Clients, each with one request at a time
    #[arg(long, default_value_t = 16)]
    connections: u64,
    /// Requests after which a client connects anew
    #[arg(long, default_value_t = 200)]
    per_connection: u64,
    /// How long a client waits for an answer, in seconds
    #[arg(long = "patience", default_value = "10", value_parser = seconds)]
    patience: Duration,
    /// How long a replica goes on accepting after SIGTERM, in milliseconds
    #[arg(long, default_value_t = 0)]
    exit_delay: u64,
    /// A variable for evenkeel, such as EVENKEEL_POLICY=round-robin; repeatable
    #[arg(long)]
    evenkeel_env: Vec<String>,
    #[arg(long, default_value = "evenkeel:local")]
    image: String,
    #[arg(long, default_value = "evenkeel-replica:local")]
    replica_image: String,
    /// For logs, records and results
    #[arg(long, default_value = "target/chaos")]
    scratch: PathBuf,
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|error| format!("{error}"))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Load(plan)) => load::run(plan).map(|()| true),
        None => drive(&arguments.options),
    };
    let code = |is_kept| if is_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    exit_code("chaos", outcome.map(code))
}

/// Runs everything on one thread: the children end with it, whatever ends it.
fn drive(options: &Options) -> Result<bool> {
    fs::create_dir_all(&options.scratch)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut report = Report::new(options.seed);
        let outcome = tokio::select! {
            outcome = all(options, &mut report) => outcome,
            _ = interrupt.recv() => Err("interrupted".into()),
            _ = terminate.recv() => Err("terminated".into()),
        };
        if outcome.is_err() {
            // A container that is removed while the engine starts it may leave an endpoint that nothing ever removes.
            sleep(STARTING).await;
        }
        Run::end().await?;
        outcome?;
        report.compare();
        report.save(&options.scratch)?;
        let is_flat = options.minutes.is_none() || report.is_flat();
        Ok(is_flat && report.is_kept())
    })
}

async fn all(options: &Options, report: &mut Report) -> Result<()> {
    for system in &options.systems {
        let mut site = Site::begin(options, *system).await?;
        let faults = if options.only.is_empty() { Fault::all() } else { options.only.clone() };
        let faults: Vec<_> = faults.into_iter().filter(|fault| fault.concerns(*system)).collect();
        if options.requests.is_some() {
            report.add(step::run(&mut site, options, Fault::Churn, 1).await?);
        } else if let Some(minutes) = options.minutes {
            mixed(options, &mut site, &faults, Duration::from_secs(minutes * 60), report).await?;
        } else {
            for (step, fault) in (1..).zip(faults) {
                report.add(step::run(&mut site, options, fault, step).await?);
                report.save(&options.scratch)?;
            }
        }
        drop(site);
        Run::end().await?;
    }
    Ok(())
}

/// Faults as the seed draws them, until the time is over.
async fn mixed(
    options: &Options,
    site: &mut Site,
    faults: &[Fault],
    time: Duration,
    report: &mut Report,
) -> Result<()> {
    let end = Instant::now() + time;
    let mut rng = Rng::with_seed(options.seed);
    let mut step = 0;
    while Instant::now() < end {
        let Some(fault) = rng.choice(faults) else { return Err("no fault to stage".into()) };
        step += 1;
        report.add(step::run(site, options, *fault, step).await?);
        report.save(&options.scratch)?;
    }
    Ok(())
}
