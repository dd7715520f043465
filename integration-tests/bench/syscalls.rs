//! System calls, counted by strace while clients load a contender. They say where CPU time goes, not how much of it:
//! strace slows each of them down.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde::Serialize;

use crate::contender::{self, Contender, Site};
use crate::process::{self, Place, Process};
use crate::workload::Workload;
use crate::{Result, load, procfs};

const SECONDS: u32 = 3;
/// Names that make up less of a request are not listed.
const NOTABLE: f64 = 0.01;

/// System calls of one contender, for each request.
#[derive(Serialize)]
pub(crate) struct Syscalls {
    pub(crate) contender: Contender,
    pub(crate) in_all: f64,
    /// The most frequent first.
    pub(crate) by_name: Vec<(String, f64)>,
}

/// Measures those that suit W1; none where strace is not installed.
pub(crate) fn measure(site: &Site, contenders: &[Contender]) -> Result<Vec<Syscalls>> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("\nsyscalls: left out: strace is not installed");
        return Ok(Vec::new());
    }
    let _replicas = contender::start_replicas(site, Place::Others)?;
    contenders.iter().filter(|contender| Workload::W1.suits(**contender)).map(|each| count(site, *each)).collect()
}

fn count(site: &Site, contender: Contender) -> Result<Syscalls> {
    let running = contender.start(site, &Workload::W1)?;
    load::measure(site, &running, &Workload::W1, 1)?;
    let pids = procfs::family(running.process.pid());
    let counts = site.scratch.join(format!("{}.strace", contender.name()));
    let mut command = process::command(Place::Others, "strace");
    command.args(["-c", "-f", "-o"]).arg(&counts);
    command.args(pids.iter().map(|pid| format!("--attach={pid}")));
    let mut strace = Process::start("strace", command, &site.scratch)?;
    strace.until(Duration::from_secs(10), || procfs::is_traced(&pids).unwrap_or(false))?;
    let sample = load::measure(site, &running, &Workload::W1, SECONDS)?;
    strace.signal(Signal::INT)?;
    strace.wait(Duration::from_secs(10))?;
    let counted = parse(&std::fs::read_to_string(counts)?);
    let requests = sample.requests as f64;
    let mut by_name: Vec<_> = counted.into_iter().map(|(name, calls)| (name, calls as f64 / requests)).collect();
    by_name.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    let in_all = by_name.iter().map(|(_, calls)| calls).sum();
    by_name.retain(|(_, calls)| *calls >= NOTABLE);
    Ok(Syscalls { contender, in_all, by_name })
}

/// The rows of `strace -c`: share, seconds, µs/call, calls, errors (may be missing), name.
fn parse(table: &str) -> Vec<(String, u64)> {
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = *words.last()?;
        let calls = words.get(3)?.parse().ok()?;
        (name != "total").then(|| (name.to_owned(), calls))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_and_without_errors() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.35    0.145012           3     40210           sendto
 30.11    0.071170           1     40399       189 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.236182           2     80609       189 total
";
        assert_eq!(parse(table), [("sendto".to_owned(), 40_210), ("recvfrom".to_owned(), 40_399)]);
    }
}
