//! One run of a workload's clients against a contender.

use std::path::Path;
use std::time::Duration;

use crate::contender::{Running, Site};
use crate::process::{self, Place, Process};
use crate::wire::paced::Outcome;
use crate::workload::{Kind, Workload};
use crate::{Result, procfs};

/// How much longer than it should a client may run.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a round showed.
pub(crate) struct Sample {
    /// Run time of all the contender's threads for each request, in µs.
    pub(crate) cpu_us: f64,
    /// Time that the contender waited for a core, in % of the time it ran: what shares the core disturbs.
    pub(crate) waited_percent: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) requests: u64,
    /// Requests without an answer of status 200.
    pub(crate) errors: u64,
    /// Only where requests are paced.
    pub(crate) p99_us: Option<u64>,
}

/// Loads `running` for `seconds`.
pub(crate) fn measure(site: &Site, running: &Running, workload: &Workload, seconds: u32) -> Result<Sample> {
    let pid = running.process.pid();
    let before = procfs::scheduled(pid)?;
    let outcome = clients(site, running, workload, seconds)?;
    let after = procfs::scheduled(pid)?;
    let ran = (after.ran - before.ran).as_secs_f64();
    if outcome.requests == 0 {
        return Err(format!("{} answered nothing in {seconds} s", running.contender.name()).into());
    }
    let requests = outcome.requests as f64;
    Ok(Sample {
        cpu_us: ran * 1e6 / requests,
        waited_percent: (after.waited - before.waited).as_secs_f64() * 100.0 / ran,
        requests_per_second: requests / f64::from(seconds),
        requests: outcome.requests,
        errors: outcome.errors,
        p99_us: matches!(workload.kind, Kind::Paced(_)).then_some(outcome.p99_us),
    })
}

fn clients(site: &Site, running: &Running, workload: &Workload, seconds: u32) -> Result<Outcome> {
    let (addr, size, clients) = (running.addr, workload.size, workload.clients);
    let place = workload.place(Place::Others);
    let command = if let Kind::Paced(rate) = workload.kind {
        let mut command = process::command(place, std::env::current_exe()?);
        command.args(["paced", &addr.to_string(), &rate.to_string(), &clients.to_string()]);
        command.args([&seconds.to_string(), &size.to_string()]);
        command
    } else {
        let mut command = process::command(place, "wrk");
        command.args(["--threads", "1", "--timeout", "10s", "--duration", &format!("{seconds}s")]);
        command.args(["--connections", &clients.to_string()]);
        match workload.kind {
            Kind::Post => command.arg("--script").arg(post_script(&site.scratch)?),
            Kind::Connect => command.args(["--header", "Connection: close"]),
            Kind::Get | Kind::Paced(_) => &mut command,
        };
        command.arg(format!("http://{addr}/{size}"));
        command
    };
    let mut client = Process::start("client", command, &site.scratch)?;
    if !client.wait(Duration::from_secs(seconds.into()) + PATIENCE)?.success() {
        return Err(client.failure("failed"));
    }
    let output = client.output()?;
    match workload.kind {
        Kind::Paced(_) => Ok(serde_json::from_str(&output)?),
        Kind::Get | Kind::Post | Kind::Connect => {
            parse_wrk(&output).ok_or_else(|| client.failure("says something else than wrk 4 does"))
        }
    }
}

fn post_script(scratch: &Path) -> Result<std::path::PathBuf> {
    let file = scratch.join("post.lua");
    std::fs::write(&file, include_str!("config/post.lua"))?;
    Ok(file)
}

/// wrk prints for people.
fn parse_wrk(output: &str) -> Option<Outcome> {
    let requests: u64 = output.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?;
    let broken = output.lines().find_map(|line| line.trim().strip_prefix("Socket errors: ")).unwrap_or_default();
    let broken: u64 = broken.split_whitespace().filter_map(|word| word.trim_end_matches(',').parse::<u64>().ok()).sum();
    let refused = output.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses: "));
    let refused: u64 = refused.unwrap_or("0").parse().ok()?;
    Some(Outcome { requests: requests.checked_sub(refused)?, errors: broken + refused, p50_us: 0, p99_us: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "Running 1s test @ http://127.0.0.1:8001/1024
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.31ms  380.77us   7.45ms   80.60%
  48612 requests in 1.00s, 52.66MB read
Requests/sec:  48561.51
";

    #[test]
    fn requests_and_errors_are_read_from_what_wrk_prints() {
        let outcome = parse_wrk(CLEAN).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (48_612, 0));
        let errors = "  Socket errors: connect 1, read 20, write 300, timeout 0\n  Non-2xx or 3xx responses: 612\n";
        let outcome = parse_wrk(&format!("{CLEAN}{errors}")).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (48_000, 933));
        assert!(parse_wrk("unable to connect").is_none());
    }
}
