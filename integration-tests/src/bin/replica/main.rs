//! A tiny container app: what stands behind evenkeel in the Compose file, the scenarios and the demo.
//!
//! It answers with its hostname, can be slow, fail, stream, echo and upgrade, and stops the way a well-behaved
//! app does: on SIGTERM it finishes what it has. `replica help` lists the rest.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal and for container logs")]

mod fetch;
mod options;
mod routes;
mod serve;
mod socket_proxy;
mod work;

use std::process::ExitCode;

use options::{Command, Options};

const HELP: &str = "\
replica                    serve HTTP; settings come from the environment:
                             ADDRESS, PORT   where to listen                                     [0.0.0.0, 3001]
                             REPLICA_NAME    said in the answer to GET /
                             DELAY_MS        added to every answer                               [0]
                             START_DELAY_MS  listen only after this                              [0]
                             READY_DELAY_MS  /ready and /work say 503 for this long at first     [0]
                             READY_FLAP_MS   /ready says 200 and 503 in turn, for so long each       [0: never]
                             KEEP_ALIVE_MS   close connections that were idle for this long      [0: never]
                             TERM_MODE       on SIGTERM: graceful, abrupt (exit) or ignore       [graceful]
                             EXIT_DELAY_MS   graceful: go on accepting for this long             [0]
                             DRAIN_MS        graceful: then wait this long for open requests     [9000]
                             CORE            run on this core of the machine only                    [any]
                             WORK_LOG        directory for a file with the start and end of /work, and of the replica    [none]
replica healthcheck        exit 0 if the replica on PORT is ready
replica get URL...         GET each http:// URL, print the answers, exit 0 if all are 2xx
replica socket-proxy --listen ADDR --socket PATH
                           let through only the read-only Docker endpoints that evenkeel needs
routes: / /ready (or /healthz) /slow?ms=5 /status/503 /stream?chunks=10&ms=100 /echo /headers /upgrade /hang
        /work?id=ID&ms=5 with the same id in X-Id
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let command = match Command::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(error) => return fail(&error),
    };
    let outcome = match command {
        Command::Help => {
            print!("{HELP}");
            Ok(())
        }
        Command::Serve => match Options::from_env() {
            Ok(options) => serve::run(options).await,
            Err(error) => return fail(&error),
        },
        Command::Healthcheck => match Options::from_env() {
            Ok(options) => fetch::healthcheck(options.port).await,
            Err(error) => return fail(&error),
        },
        Command::Get { urls } => fetch::get_all(&urls).await,
        Command::SocketProxy { listen, socket } => socket_proxy::run(&listen, &socket).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replica: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("replica: {error}\n\n{HELP}");
    ExitCode::from(2)
}
