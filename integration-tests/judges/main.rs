//! Judges from outside: programs that others wrote, let loose on evenkeel: `just judges`.
//!
//! - [`websocket`]: Autobahn's cases against an echo server, directly and through evenkeel.
//! - [`slow`]: slowhttptest's attacks, while another client goes on.
//! - [`scripts`]: varnishtest plays both the clients and the replicas.
//! - [`front`]: HAProxy in front of evenkeel, as a cloud's balancer would be.
//!
//! Everything runs in namespaces of its own, see [`sandbox`]: no packet leaves them and no process outlives them.

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod evenkeel;
mod front;
mod http;
mod replica;
mod scripts;
mod slow;
mod websocket;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use integration_tests::{Result, exit_code, sandbox};

#[derive(Parser)]
struct Arguments {
    /// The program that is judged
    #[arg(long, global = true, default_value = "target/release/evenkeel")]
    evenkeel: PathBuf,
    /// For logs and reports; `venv` in it has the Python packages
    #[arg(long, global = true, default_value = "target/judges")]
    scratch: PathBuf,
    /// Set by this program when it starts itself in namespaces of its own
    #[arg(long, global = true, hide = true)]
    inside: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Autobahn's WebSocket cases, directly and through evenkeel
    Websocket(websocket::Options),
    /// slowhttptest's four attacks
    Slow,
    /// varnishtest's scripts; without a name, all
    Scripts { names: Vec<String> },
    /// HAProxy in front: PROXY protocol, health checks, a restart
    Front,
    /// For scripts: wait until so many replicas are ready
    #[command(hide = true)]
    Ready { replicas: u64 },
    /// For scripts: send what comes on stdin, finish sending, print what comes back
    #[command(hide = true)]
    HalfClose,
}

/// What the judges find, and where they put it.
struct Site {
    evenkeel: PathBuf,
    scratch: PathBuf,
}

fn main() -> ExitCode {
    exit_code("judges", run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Some(Command::Ready { replicas }) => {
            evenkeel::wait_ready(replicas)?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::HalfClose) => {
            http::half_close(evenkeel::LISTEN)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ if !arguments.inside => return sandbox::enter(),
        _ => sandbox::prepare()?,
    }
    fs::create_dir_all(&arguments.scratch)?;
    let site = Site { evenkeel: arguments.evenkeel.canonicalize()?, scratch: arguments.scratch.canonicalize()? };
    let began = Instant::now();
    match arguments.command {
        Some(Command::Websocket(options)) => websocket::run(&site, &options)?,
        Some(Command::Slow) => slow::run(&site)?,
        Some(Command::Scripts { names }) => scripts::run(&site, &names)?,
        Some(Command::Front) => front::run(&site)?,
        _ => {
            scripts::run(&site, &[])?;
            front::run(&site)?;
            slow::run(&site)?;
            websocket::run(&site, &websocket::Options::default())?;
        }
    }
    println!("\nall as it has to be, after {} s", began.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}
