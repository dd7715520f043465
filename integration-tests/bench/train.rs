//! Loads evenkeel, which counts its branches meanwhile, with traffic as it comes in life: what its compiler is told is
//! likely (`deploy/profile`). It is not what [`crate::compare`] measures with.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use integration_tests::samples::{BROWSER, CURL};
use rustix::process::Signal;

use crate::Result;
use crate::contender::{self, Contender, Site, evenkeel_arguments};
use crate::process::{self, Place, Process};
use crate::wire::message;
use crate::wire::steady::{Steady, ask};

/// Connections, used in turn.
const CONNECTIONS: usize = 64;
/// Starting and stopping take no longer; the counts are written at the end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Those that clients meet; each picks in its own way.
const POLICIES: [&str; 4] = ["p2c", "round-robin", "least-requests", "ewma"];

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
    let evenkeel = options.evenkeel.clone();
    let site = Site { scratch: options.scratch.canonicalize()?, before: evenkeel.clone(), evenkeel };
    let _replicas = contender::start_replicas(&site, Place::Others)?;
    for policy in POLICIES {
        train(&site, policy, options.requests)?;
    }
    Ok(())
}

fn train(site: &Site, policy: &str, requests: usize) -> Result<()> {
    let addr = Contender::Evenkeel.addr();
    let mut command = process::command(Place::Contender, &site.evenkeel);
    command.args(evenkeel_arguments(addr, 9900, 1, policy));
    let mut evenkeel = Process::start("trainee", command, &site.scratch)?;
    evenkeel.until(PATIENCE, || ask(addr, 1).is_ok_and(|status| status == 200))?;
    for Sort { request, closes, share } in sorts() {
        Steady::with(addr, CONNECTIONS, request, closes)?.requests(requests / share)?;
    }
    evenkeel.signal(Signal::TERM)?;
    if evenkeel.wait(PATIENCE)?.success() { Ok(()) } else { Err(evenkeel.failure("failed")) }
}

/// Requests of one sort.
struct Sort {
    request: Vec<u8>,
    /// Whether each has a connection of its own.
    closes: bool,
    /// There is one of these for so many of others.
    share: usize,
}

fn sorts() -> Vec<Sort> {
    let kept = |request| Sort { request, closes: false, share: 1 };
    let json = vec![b'x'; 4096];
    let upload = vec![b'x'; 64 * 1024];
    vec![
        kept(get(CURL, "/1024", "")),
        kept(get(CURL, "/1024?rich", "")),
        kept(get(CURL, "/4096?chunked", "")),
        kept(get(BROWSER, "/1024?rich", "")),
        kept(get(BROWSER, "/16384?rich", "")),
        kept(get(BROWSER, "/32768?chunked", "")),
        kept(get(BROWSER, "/0?unchanged", "")),
        kept(post("/1024?rich", &json)),
        kept([post_head("/1024?rich", "Transfer-Encoding: chunked"), message::in_chunks(&json)].concat()),
        Sort { share: 10, ..kept(post("/0?rich", &upload)) },
        Sort { share: 50, ..kept(get(CURL, "/1048576?rich", "")) },
        Sort { closes: true, ..kept(get(CURL, "/1024", "Connection: close\r\n")) },
        Sort { closes: true, ..kept(get(BROWSER, "/1024?rich", "")) },
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
