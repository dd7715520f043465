//! Loads evenkeel, which counts its branches meanwhile, with traffic as it comes in life: what its compiler is told is
//! likely (`deploy/profile`).

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use integration_tests::samples::{BROWSER, CURL};
use rustix::process::Signal;

use crate::Result;
use crate::contender::{self, Contender, Site};
use crate::process::{self, Place, Process};
use crate::wire::message;
use crate::wire::steady::{Steady, ask};

/// Connections, used in turn.
const CONNECTIONS: usize = 64;
/// Starting and stopping take no longer; the counts are written at the end.
const PATIENCE: Duration = Duration::from_secs(20);
/// All of them.
const POLICIES: [&str; 5] = ["p2c", "round-robin", "least-requests", "random", "ewma"];

/// Whom to load, and how long.
#[derive(Args)]
pub(crate) struct Options {
    /// The program to load, built with `-Cprofile-generate`
    #[arg(long)]
    evenkeel: PathBuf,
    /// Requests of each sort, by each policy
    #[arg(long, default_value_t = 3000)]
    requests: usize,
    /// For logs
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
}

/// Loads it with every sort of request, once by each policy.
pub(crate) fn run(options: &Options) -> Result<()> {
    std::fs::create_dir_all(&options.scratch)?;
    let site = Site::of_one(options.scratch.canonicalize()?, options.evenkeel.clone());
    let _replicas = contender::start_replicas(&site, Place::Others)?;
    for policy in POLICIES {
        train(&site, policy, options.requests)?;
    }
    Ok(())
}

fn train(site: &Site, policy: &str, requests: usize) -> Result<()> {
    let addr = Contender::Evenkeel.addr();
    let mut command = process::command(Place::Contender, &site.evenkeel);
    command.args(Contender::Evenkeel.evenkeel_arguments(1, policy));
    let mut evenkeel = Process::start("trainee", command, &site.scratch)?;
    evenkeel.until(PATIENCE, || ask(addr, 1).is_ok_and(|status| status == 200))?;
    for Sort { request, status, closes, share } in sorts() {
        Steady::with(addr, CONNECTIONS, request, status, closes)?.requests(requests / share)?;
    }
    evenkeel.signal(Signal::TERM)?;
    if evenkeel.wait(PATIENCE)?.success() { Ok(()) } else { Err(evenkeel.failure("failed")) }
}

/// Requests of one sort.
struct Sort {
    request: Vec<u8>,
    /// What all of them are answered with.
    status: u16,
    /// Whether each has a connection of its own.
    closes: bool,
    /// There is one of these for so many of others.
    share: usize,
}

fn sorts() -> Vec<Sort> {
    let kept = |request| Sort { request, status: 200, closes: false, share: 1 };
    let json = vec![b'x'; 2500];
    let upload = vec![b'x'; 64 * 1024];
    vec![
        kept(get(CURL, "/300", "")),
        kept(get(CURL, "/2000?rich", "")),
        kept(get(CURL, "/5000?chunked", "")),
        kept(get(BROWSER, "/1500?rich", "")),
        kept(get(BROWSER, "/20000?rich", "")),
        kept(get(BROWSER, "/32768?chunked", "")),
        Sort { status: 304, ..kept(get(BROWSER, "/0?unchanged", "")) },
        kept(post("/500?rich", &json)),
        kept([post_head("/500?rich", "Transfer-Encoding: chunked"), message::in_chunks(&json)].concat()),
        Sort { share: 10, ..kept(post("/0?rich", &upload)) },
        Sort { share: 50, ..kept(get(CURL, "/1500000?rich", "")) },
        Sort { closes: true, ..kept(get(CURL, "/300", "Connection: close\r\n")) },
        Sort { closes: true, ..kept(get(BROWSER, "/1500?rich", "")) },
    ]
}

/// `sample` with another target and more fields, each with its line's end.
fn get(sample: &str, target: &str, fields: &str) -> Vec<u8> {
    let (line, rest) = sample.split_once("\r\n").unwrap_or_default();
    debug_assert!(line.starts_with("GET "));
    format!("GET {target} HTTP/1.1\r\n{fields}{rest}").into_bytes()
}

fn post(target: &str, body: &[u8]) -> Vec<u8> {
    [post_head(target, &format!("Content-Length: {}", body.len())), body.to_vec()].concat()
}

fn post_head(target: &str, framing: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: gateway:8080\r\nUser-Agent: python-requests/2.31.0\r\n\
         Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n\
         Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl\r\n{framing}\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_is_one_whole_request_for_something_that_replicas_have() {
        for Sort { request, .. } in sorts() {
            assert_eq!(message::length(&request).unwrap(), Some(request.len()));
            assert!(message::wanted(&request).is_some(), "{}", String::from_utf8_lossy(&request));
        }
    }
}
