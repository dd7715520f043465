//! Caddy and evenkeel as a load-balancer VM, from the files of `deploy/examples/lb-vm` as they are: `just lb-vm`. The
//! replicas are processes at the addresses of these files, in namespaces of their own; one is killed and brought back,
//! then all of them, under load.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod load;
mod replicas;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use integration_tests::client::{Client, Response};
use integration_tests::process::{self, Place, Process};
use integration_tests::{Result, eventually, exit_code, sandbox};
use tokio::time::sleep;

use load::{Load, Tally};
use replicas::Replicas;

/// Where both files listen.
const LISTEN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080));
const PATIENCE: Duration = Duration::from_secs(30);
const WARM_UP: Duration = Duration::from_millis(1_500);
const OUTAGE: Duration = Duration::from_secs(5);
/// Shorter than both files let a request wait.
const SHORT_OUTAGE: Duration = Duration::from_secs(2);
const RECOVERY: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "target/release/evenkeel")]
    evenkeel: PathBuf,
    /// The program that plays the replicas
    #[arg(long, default_value = "target/debug/replica")]
    replica: PathBuf,
    #[arg(long, default_value = "deploy/examples/lb-vm")]
    example: PathBuf,
    /// For logs
    #[arg(long, default_value = "target/lb-vm")]
    scratch: PathBuf,
    /// How often each step is staged
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Set by this program when it starts itself in namespaces of its own
    #[arg(long, hide = true)]
    inside: bool,
}

/// Who balances.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Evenkeel,
    Caddy,
}

/// What is done meanwhile.
#[derive(Clone, Copy)]
enum Step {
    Calm,
    KillOne,
    KillAll,
}

impl Step {
    const ALL: [Self; 3] = [Self::Calm, Self::KillOne, Self::KillAll];

    fn name(self) -> &'static str {
        match self {
            Self::Calm => "nothing",
            Self::KillOne => "one of three killed, back after 5 s",
            Self::KillAll => "all three killed, back after 2 s",
        }
    }
}

impl System {
    fn name(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel",
            Self::Caddy => "Caddy",
        }
    }

    fn start(self, arguments: &Arguments) -> Result<Process> {
        let path = |file: &str| arguments.example.join(file);
        let mut command = match self {
            Self::Evenkeel => {
                let mut command = process::command(Place::Anywhere, &arguments.evenkeel);
                command.args(["run", "--config"]).arg(path("evenkeel.toml"));
                command
            }
            Self::Caddy => {
                let mut command = process::command(Place::Anywhere, "caddy");
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path("Caddyfile"));
                command
            }
        };
        let of_caddy = arguments.scratch.join("caddy");
        command.env("XDG_CONFIG_HOME", &of_caddy).env("XDG_DATA_HOME", &of_caddy);
        Process::start(self.name(), command, &arguments.scratch)
    }
}

fn main() -> ExitCode {
    exit_code("lb-vm", run(Arguments::parse()))
}

fn run(mut arguments: Arguments) -> Result<ExitCode> {
    if !arguments.inside {
        return sandbox::enter();
    }
    sandbox::prepare()?;
    std::fs::create_dir_all(&arguments.scratch)?;
    for path in [&mut arguments.evenkeel, &mut arguments.replica, &mut arguments.example, &mut arguments.scratch] {
        *path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let failed = runtime.block_on(compare(&arguments))?;
    runtime.shutdown_background();
    if failed > 0 {
        return Err(format!("{failed} GETs and PUTs failed behind evenkeel").into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Stages every step before every system; how many requests that may be sent again failed behind evenkeel.
async fn compare(arguments: &Arguments) -> Result<u64> {
    let mut replicas = Replicas::start(&arguments.replica, &arguments.scratch)?;
    println!("| meanwhile | | requests | failed GET, PUT | failed POST | p50 ms | p99 ms | p99.9 ms | worst ms |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut failed = 0;
    for step in Step::ALL {
        for system in [System::Evenkeel, System::Caddy] {
            let mut sum = Tally::default();
            for _ in 0..arguments.rounds {
                let process = system.start(arguments)?;
                until_all_answer(&replicas).await;
                check_fields(system).await?;
                sum.add(stage(step, &mut replicas).await?);
                drop(process);
            }
            println!("| {} | {} | {sum} |", step.name(), system.name());
            if system == System::Evenkeel {
                failed += sum.failed_idempotent();
            }
            sum.failures().for_each(|(cause, count)| eprintln!("  {}: {count} × {cause}", system.name()));
        }
    }
    Ok(failed)
}

async fn stage(step: Step, replicas: &mut Replicas) -> Result<Tally> {
    let load = Load::start(LISTEN);
    sleep(WARM_UP).await;
    match step {
        Step::Calm => sleep(OUTAGE).await,
        Step::KillOne => {
            replicas.kill(1)?;
            sleep(OUTAGE).await;
            replicas.restart(1)?;
        }
        Step::KillAll => {
            (0..3).try_for_each(|index| replicas.kill(index))?;
            sleep(SHORT_OUTAGE).await;
            (0..3).try_for_each(|index| replicas.restart(index))?;
        }
    }
    sleep(RECOVERY).await;
    Ok(load.stop().await)
}

async fn get(path: &str) -> std::io::Result<Response> {
    let headers = [("X-Debug", "1"), ("X-Client", "6.6.6.6"), ("X-Request-Id", "6")];
    Client::connect(LISTEN).await?.request("GET", path, &headers, b"").await
}

/// Waits until requests come to every replica.
async fn until_all_answer(replicas: &Replicas) {
    for name in replicas.names() {
        eventually(PATIENCE, &format!("{name} answers"), async || {
            get("/").await.is_ok_and(|answer| answer.status == 200 && answer.text().contains(name))
        })
        .await;
    }
}

/// Both files have to mean the same to a replica and to a client.
async fn check_fields(system: System) -> Result<()> {
    let answer = get("/headers").await?;
    let seen = answer.text().to_lowercase();
    let values = |name: &str| -> Vec<&str> {
        let lines = seen.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| *known == name).map(|(_, value)| value).collect()
    };
    let ids = values("x-request-id");
    let is_right = values("x-client") == ["127.0.0.1"]
        && values("x-balancer") == ["lb-1"]
        && values("x-debug").is_empty()
        && ids.len() == 1
        && ids.iter().all(|id| id.len() >= 32)
        && answer.header("strict-transport-security") == Some("max-age=31536000");
    if is_right { Ok(()) } else { Err(format!("{}: other fields than the files say:\n{seen}", system.name()).into()) }
}
