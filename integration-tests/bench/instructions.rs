//! User instructions of a request, counted by callgrind: as good as the same in every run, so that CI can hold a bound.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustix::process::Signal;

use crate::Result;
use crate::contender::{self, Contender, POLICY, Site, shipped};
use crate::process::{self, Place, Process};
use crate::wire::steady::{Steady, ask};
use crate::workload::{WORKLOADS, Workload};

/// Connections, used in turn.
const CONNECTIONS: usize = 64;
/// A run slower than this is stuck; callgrind makes a program some fifty times slower.
const PATIENCE: Duration = Duration::from_secs(40);
/// How far above the bound is a failure, and how far below it a reason to lower it.
const TOLERANCE: f64 = 0.05;

/// What to count.
#[derive(Args)]
pub(crate) struct Options {
    /// Requests of the first run; the second has twice as many, and the difference counts
    #[arg(long, default_value_t = 4000)]
    requests: usize,
    /// The program to measure
    #[arg(long, default_value_os_t = shipped())]
    evenkeel: PathBuf,
    /// What to load it with; only W1 has a bound
    #[arg(long, default_value = "W1")]
    workload: String,
    /// A file with the number that may not be exceeded by more than 5 %
    #[arg(long, default_value = "integration-tests/bench/instructions.bound")]
    bound: PathBuf,
    /// For logs and callgrind's output
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
}

/// Counts, prints, and fails if it is too many.
pub(crate) fn run(options: &Options) -> Result<()> {
    let bound: u64 = fs::read_to_string(&options.bound)?.trim().parse()?;
    fs::create_dir_all(&options.scratch)?;
    let site = Site::of_one(options.scratch.canonicalize()?, options.evenkeel.clone());
    let _replicas = contender::start_replicas(&site, Place::Anywhere)?;
    let workload = WORKLOADS.iter().find(|workload| workload.name == options.workload);
    let workload = workload.ok_or_else(|| format!("there is no workload {}", options.workload))?;
    let once = count(&site, workload, options.requests)?;
    let twice = count(&site, workload, options.requests * 2)?;
    // Start, stop and whatever else does not depend on requests is in both.
    let each = twice.saturating_sub(once) / options.requests.max(1) as u64;
    if workload.name != Workload::W1.name {
        println!("user instructions of a request in {}: {each}", workload.name);
        return Ok(());
    }
    println!("user instructions of a request in W1: {each} (bound {bound})");
    match verdict(each, bound) {
        Verdict::Within => Ok(()),
        Verdict::Below => {
            println!("That is more than 5 % below the bound: lower it in {}.", options.bound.display());
            Ok(())
        }
        Verdict::Above => Err(format!(
            "{each} instructions are more than 5 % above the bound, {bound}. Without a profile of this very compiler and of \
             these dependencies it is as much as a fifth above: deploy/profile makes one."
        )
        .into()),
    }
}

/// Instructions of a whole run of evenkeel with so many requests.
fn count(site: &Site, workload: &Workload, requests: usize) -> Result<u64> {
    let counts = site.scratch.join(format!("callgrind.{}.{requests}.out", workload.name));
    let mut command = process::command(Place::Anywhere, "valgrind");
    command.args(["--tool=callgrind", &format!("--callgrind-out-file={}", counts.display())]);
    command.arg(&site.evenkeel).args(Contender::Evenkeel.evenkeel_arguments(1, POLICY));
    let mut evenkeel = Process::start("callgrind", command, &site.scratch)?;
    let addr = Contender::Evenkeel.addr();
    let is_ready = || ask(addr, workload.size).is_ok_and(|status| status == 200);
    evenkeel.until(PATIENCE, is_ready)?;
    // Once on each connection and to each replica before it counts.
    Steady::connect(addr, CONNECTIONS, workload)?.requests(requests)?;
    evenkeel.signal(Signal::TERM)?;
    if !evenkeel.wait(PATIENCE)?.success() {
        return Err(evenkeel.failure("failed"));
    }
    total(&counts)
}

fn total(counts: &Path) -> Result<u64> {
    let text = fs::read_to_string(counts)?;
    parse(&text).ok_or_else(|| format!("no sum in {}", counts.display()).into())
}

/// callgrind's sum, which is there once for each part of the output.
fn parse(text: &str) -> Option<u64> {
    let sums = text.lines().filter_map(|line| line.strip_prefix("totals:")?.trim().parse().ok());
    sums.reduce(|sum: u64, more| sum + more)
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Within,
    Below,
    Above,
}

fn verdict(found: u64, bound: u64) -> Verdict {
    let ratio = found as f64 / bound as f64;
    if ratio > 1.0 + TOLERANCE {
        Verdict::Above
    } else if ratio < 1.0 - TOLERANCE {
        Verdict::Below
    } else {
        Verdict::Within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_percent_above_the_bound_is_too_many() {
        assert_eq!(verdict(10_500, 10_000), Verdict::Within);
        assert_eq!(verdict(10_501, 10_000), Verdict::Above);
        assert_eq!(verdict(9_500, 10_000), Verdict::Within);
        assert_eq!(verdict(9_400, 10_000), Verdict::Below);
        // Nothing counted is a broken count, not a fast program: an empty bound cannot hide it.
        assert_eq!(verdict(1, 0), Verdict::Above);
    }

    #[test]
    fn the_sum_is_read_from_what_callgrind_writes() {
        assert_eq!(parse("events: Ir\nfn=(0)\n16 4\n\ntotals: 123456\n"), Some(123_456));
        assert_eq!(parse("events: Ir\n"), None);
    }
}
