//! The command line: which command, and what the process exits with.

mod admin_client;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use serde_json::Value;

use crate::app;
use crate::config::{self, AdminFlags, Errors, Flags, KeeperFlags, Running, Sources};
use crate::telemetry;

/// Between two looks of `replicas --watch`.
const REDRAW: Duration = Duration::from_secs(1);
/// Moves the cursor home and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

const AFTER_HELP: &str = "\
Every option can also be an environment variable (EVENKEEL_CONNECT_TIMEOUT for --connect-timeout) or a key of the \
file (connect-timeout = \"2s\"); a flag goes before a variable, a variable before the file. Durations need a unit: \
500ms, 5s, 1m.";

const TOKEN_HELP: &str = "\
The running evenkeel needs --admin-write. Its token is taken from EVENKEEL_ADMIN_TOKEN, from the file that \
EVENKEEL_ADMIN_TOKEN_FILE names, or from the configuration file.";

/// evenkeel follows the containers of a Docker service and balances HTTP over them.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Balance until told to stop; what happens without any command
    #[command(after_help = AFTER_HELP)]
    Run(Flags),
    /// Print the configuration and where each value came from, or all that is wrong with it
    #[command(after_help = AFTER_HELP)]
    Check(Flags),
    /// Ask a running evenkeel whether it is alive; exits with 0 or 1
    Healthcheck {
        /// Ask whether it is ready for requests
        #[arg(long)]
        ready: bool,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Print the replicas that a running evenkeel knows
    Replicas {
        /// Print them anew every second, until Ctrl-C
        #[arg(long)]
        watch: bool,
        /// Print them as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Give a replica nothing new and let it finish what it has, until it is undrained or starts anew
    #[command(after_help = TOKEN_HELP)]
    Drain {
        /// Its name, its id, or at least four characters with which the id begins
        replica: String,
        /// Even if it is the last ready one of its service, so that clients may wait and then get 503
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// End a drain by hand
    #[command(after_help = TOKEN_HELP)]
    Undrain {
        /// Its name, its id, or at least four characters with which the id begins
        replica: String,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Keep a port open while evenkeel is restarted, which gets it with --listen-from
    KeepPort {
        /// Where evenkeel gets it: a unix socket that is made here, for this user alone
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
        #[command(flatten)]
        flags: KeeperFlags,
    },
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Why the process does not exit with 0.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Nothing was started. Exit code 2, as for a flag that clap refuses.
    #[error(transparent)]
    Config(#[from] Errors),
    /// Nothing can be logged.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// A running evenkeel did not answer as it should, or refused.
    #[error(transparent)]
    Admin(#[from] admin_client::Error),
    /// The healthcheck failed, in one line. Exit code 1, whatever the cause: Docker reserves 2.
    #[error("{0}")]
    Unhealthy(String),
    /// Nothing can be printed.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// It could not start.
    #[error(transparent)]
    App(#[from] app::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Telemetry(_) | Self::Admin(_) | Self::Unhealthy(_) | Self::Output(_) | Self::App(_) => 1,
        }
    }
}

/// Does what the process was started for: 0 if it went well, 1 if it did not, 2 if the command line or the
/// configuration is wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(cli, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // If even stderr is gone, the exit code is all that is left to say it.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn execute(cli: Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match cli.command.unwrap_or(Command::Run(cli.flags)) {
        Command::Run(flags) => {
            let running = Running::new(sources(flags))?;
            telemetry::init(&running.settings().log)?;
            Ok(app::run(running)?)
        }
        Command::Check(flags) => Ok(out.write_all(sources(flags).resolve()?.to_toml().as_bytes())?),
        Command::Healthcheck { ready, admin } => healthcheck(ready, admin, out),
        Command::Replicas { watch, json, admin } => replicas(watch, json, admin, out),
        Command::Drain { replica, force, admin } => {
            change(&replica, if force { "drain?force=true" } else { "drain" }, admin, out)
        }
        Command::Undrain { replica, admin } => change(&replica, "undrain", admin, out),
        Command::KeepPort { socket, flags } => {
            let (listen, log) = sources(flags.0).keeper()?;
            telemetry::init(&log)?;
            Ok(app::keep_port(listen, &socket)?)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "evenkeel", &mut script);
            Ok(out.write_all(&script)?)
        }
    }
}

fn sources(flags: Flags) -> Sources {
    Sources::read(flags, config::env::process())
}

fn healthcheck(ready: bool, admin: AdminFlags, out: &mut dyn Write) -> Result<(), Failure> {
    let addr = sources(admin.0).admin_listen().map_err(|errors| {
        let errors: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        Failure::Unhealthy(errors.join("; "))
    })?;
    let path = if ready { "/readyz" } else { "/healthz" };
    admin_client::get(addr, path).map_err(|error| Failure::Unhealthy(error.to_string()))?;
    writeln!(out, "{}", if ready { "ready" } else { "alive" })?;
    Ok(())
}

fn replicas(watch: bool, json: bool, admin: AdminFlags, out: &mut dyn Write) -> Result<(), Failure> {
    let addr = sources(admin.0).admin_listen()?;
    let path = if json { "/api/v1/replicas" } else { "/debug/replicas" };
    if !watch {
        return Ok(writeln!(out, "{}", admin_client::get(addr, path)?.trim_end())?);
    }
    let clear = if !json && io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        // Who watches a restart wants to see it come back.
        let shown = admin_client::get(addr, path).unwrap_or_else(|error| error.to_string());
        writeln!(out, "{clear}{}", shown.trim_end())?;
        out.flush()?;
        std::thread::sleep(REDRAW);
    }
}

/// Changes a replica and prints what it came to: its name and the verdict on it.
fn change(replica: &str, how: &str, admin: AdminFlags, out: &mut dyn Write) -> Result<(), Failure> {
    let (addr, token) = sources(admin.0).admin_access()?;
    let path = format!("/api/v1/replicas/{}/{how}", admin_client::escaped(replica));
    let answer: Value = serde_json::from_str(&admin_client::post(addr, &path, &token)?).unwrap_or_default();
    let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or("?").to_owned();
    Ok(writeln!(out, "{}: {}", text("name"), text("verdict"))?)
}
