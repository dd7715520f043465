//! What a request costs evenkeel, and what it costs HAProxy, nginx and a relay that reads no HTTP: `just bench` and
//! `just instructions`; the method is in docs/performance.md.
//!
//! - [`sandbox`]: namespaces of their own for the network and for every process that is started.
//! - [`compare`]: the rounds of the [`workload`]s over the [`contender`]s, what they come to, and the [`report`].
//! - [`idle`], [`syscalls`], [`instructions`]: memory, system calls and instructions.
//! - [`train`]: load for a build that counts its branches, so that its compiler knows what is likely.
//! - [`wire`]: the replicas, the clients and the relay.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod compare;
mod contender;
mod idle;
mod instructions;
mod load;
mod report;
mod summary;
mod syscalls;
mod train;
mod wire;
mod workload;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use integration_tests::{Result, exit_code, process, procfs, sandbox};

use wire::paced::Plan;

#[derive(Parser)]
struct Arguments {
    /// Set by this program when it starts itself in namespaces of its own
    #[arg(long, global = true, hide = true)]
    inside: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU time of a request, its ratio to the others', memory and system calls
    Compare(compare::Options),
    /// User instructions of a request through evenkeel, held against a bound
    Instructions(instructions::Options),
    /// Load for a build that counts its branches (`deploy/profile`)
    Train(train::Options),
    #[command(hide = true)]
    Replicas { addrs: Vec<SocketAddr> },
    #[command(hide = true)]
    Relay { listen: SocketAddr, threads: usize, replicas: Vec<SocketAddr> },
    #[command(hide = true)]
    Paced { addr: SocketAddr, rate: u32, clients: usize, seconds: u64, size: usize },
}

fn main() -> ExitCode {
    exit_code("bench", run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let measures = matches!(arguments.command, Command::Compare(_) | Command::Instructions(_) | Command::Train(_));
    if measures && !arguments.inside {
        return sandbox::enter();
    }
    if measures {
        sandbox::prepare()?;
    }
    match arguments.command {
        Command::Compare(options) => compare::run(&options)?,
        Command::Instructions(options) => instructions::run(&options)?,
        Command::Train(options) => train::run(&options)?,
        Command::Replicas { addrs } => wire::replicas::serve(&addrs)?,
        Command::Relay { listen, threads, replicas } => wire::relay::serve(listen, threads, &replicas)?,
        Command::Paced { addr, rate, clients, seconds, size } => {
            let plan = Plan { addr, rate, clients, time: Duration::from_secs(seconds), size };
            println!("{}", serde_json::to_string(&wire::paced::run(&plan)?)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
