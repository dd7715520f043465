//! evenkeel before very many replicas that come and go: how long a change takes from the source to the balancer's list, and
//! what the control thread, the memory and the peers have to bear. The engines, the Swarm's manager and the replicas are
//! fakes in this process; the replicas of a host are one listener, which is enough for probes.
//!
//! Times are of this machine and this moment: compare runs, not machines.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

mod fleet;
mod hosts;
mod measure;
mod peers;
mod picks;
mod swarm;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;

use clap::{Parser, ValueEnum};
use evenkeel::config::settings::{ProxySettings, Settings, SubsetSettings};
use evenkeel::service::Policy;

use self::fleet::Churn;
use self::measure::Result;

/// Replicas among which picks are timed.
const COUNTS: [usize; 3] = [10, 1000, 10_000];

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One evenkeel before many Docker hosts, with all replicas and with a subset.
    Hosts,
    /// One evenkeel before one Swarm.
    Swarm,
    /// Evenkeels as peers.
    Peers,
    /// The cost of a pick.
    Picks,
}

/// Simulates large fleets, and prints tables in Markdown.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Only these parts.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// Docker hosts that one evenkeel follows.
    #[arg(long, default_value_t = 200)]
    hosts: u8,
    /// Replicas on each.
    #[arg(long, default_value_t = 50)]
    replicas: u32,
    /// Tasks of the Swarm.
    #[arg(long, default_value_t = 5000)]
    tasks: u32,
    /// Evenkeels that are peers.
    #[arg(long, default_value_t = 50)]
    peers: u8,
    /// Replicas beside each of those.
    #[arg(long, default_value_t = 10)]
    beside: u32,
    /// Changes a second: by turns a replica that starts and one that stops.
    #[arg(long, default_value_t = 20)]
    churn: u32,
    /// Seconds of quiet, and then of churn, for each row.
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// Replicas that evenkeel keeps to in the second row, being the first of as many evenkeels as are needed for all.
    #[arg(long, default_value_t = 500)]
    subset: usize,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

// The fakes share this thread; evenkeel has threads of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let options = Options::parse();
    let churn = Churn { rate: options.churn, seconds: options.seconds };
    if options.has(Part::Hosts) {
        let Options { hosts, replicas, subset, .. } = options;
        head(&format!("{hosts} hosts × {replicas} replicas, {} changes/s", churn.rate), &fleet::COLUMNS);
        println!("| all | {} |", hosts::simulate(hosts, replicas, churn, None).await?.columns());
        let total = usize::from(hosts) * replicas as usize;
        if total > subset {
            let slots = total.div_ceil(subset);
            let part = SubsetSettings { size: subset, slot: 1, slots };
            let row = hosts::simulate(hosts, replicas, churn, Some(part)).await?;
            println!("| `--subset {subset} --subset-slot 1/{slots}` | {} |", row.columns());
        }
    }
    if options.has(Part::Swarm) {
        head(&format!("a Swarm, {} changes/s", churn.rate), &fleet::COLUMNS);
        let row = swarm::simulate(options.tasks, churn).await?;
        println!("| {} tasks of one service | {} |", options.tasks, row.columns());
    }
    if options.has(Part::Peers) {
        head(&format!("evenkeels as peers, {} changes/s among all", churn.rate), &peers::COLUMNS);
        let row = peers::simulate(options.peers, options.beside, churn).await?;
        println!("| {} × {} replicas | {} |", options.peers, options.beside, row.columns());
    }
    if options.has(Part::Picks) {
        head("CPU of a pick and its release among so many ready replicas", &COUNTS.map(|n| n.to_string()));
        let mut columns = Vec::new();
        // The most first, while there is no memory that others have left.
        for count in COUNTS.into_iter().rev() {
            columns.insert(0, picks::cost(count).await?);
        }
        for (index, policy) in Policy::ALL.into_iter().enumerate() {
            let row = columns.iter().filter_map(|column| column.picks.get(index)).map(|time| format!("{time:.0} ns"));
            println!("| `{policy}` | {} |", row.collect::<Vec<_>>().join(" | "));
        }
        if let (Some(most), Some(count)) = (columns.last(), COUNTS.last()) {
            println!("\n{:.1} KiB for each of {count} static replicas", most.memory);
        }
    }
    Ok(())
}

/// The head of a table.
fn head(what: &str, columns: &[impl AsRef<str>]) {
    let columns: Vec<_> = columns.iter().map(AsRef::as_ref).collect();
    let columns = columns.join(" | ");
    println!("\n| {what} | {columns} |");
    println!("|{}", "---|".repeat(columns.split('|').count() + 1));
}

/// The settings of an evenkeel that listens to this machine only, and follows nothing.
fn local() -> Settings {
    let listen = ([127, 0, 0, 1], 0).into();
    Settings {
        proxy: ProxySettings { listen, threads: NonZeroUsize::MIN, ..ProxySettings::default() },
        admin_listen: listen,
        docker: Vec::new(),
        ..Settings::default()
    }
}
