//! POSTs by way of a peer that is struck: none is done twice, and those that fail are only those that were sent there
//! and not answered.

use std::path::Path;
use std::time::Duration;

use integration_tests::eventually;
use integration_tests::lab::{Lab, Plan};
use integration_tests::load::record::{Record, now};
use rustix::process::Signal;
use tokio::time::Instant;

use super::fleet::{Fleet, addresses, peer};
use crate::harness::{Done, PATIENCE, Work, work_logs};

/// The host that is struck, and those whose clients ask.
const STRUCK: usize = 3;
const ASKED: [usize; 2] = [1, 2];
/// Two on the host that is struck, so that one of them can be.
const REPLICAS: [usize; 3] = [2, 1, 2];
/// How long evenkeel waits for an answer here, and for how much longer a link is cut.
const ANSWER: &str = "--response-timeout=3s";
const LONG: Duration = Duration::from_secs(5);
/// Microseconds that what happened may be off: an answer that was given just before may not have got through.
const SLACK: u64 = 100_000;

/// What is done to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strike {
    /// One of its replicas is stopped, and goes on accepting for a moment.
    Stop,
    /// One of its replicas gets SIGKILL.
    KillReplica,
    /// Its evenkeel gets SIGKILL.
    KillEvenkeel,
    /// Its link is cut until the others know.
    Cut,
    /// Its link is cut for longer than an answer is waited for.
    LongCut,
}

#[test]
fn no_post_is_done_twice_and_those_that_fail_were_sent_and_not_answered() {
    let plan = Plan { images: &["evenkeel-replica:local"], ..Plan::default() };
    Lab::with(&plan, async |lab| {
        let logs = work_logs(lab);
        let mount = format!("--volume={}:/work-log", logs.display());
        let options = [mount.as_str(), "--env=WORK_LOG=/work-log", "--env=EXIT_DELAY_MS=200"];
        let mut fleet = Fleet::begin(lab, REPLICAS, &options);
        fleet.start_all(&addresses(lab), &[ANSWER.to_owned()]).await;
        let strikes = [Strike::Stop, Strike::KillReplica, Strike::KillEvenkeel, Strike::Cut, Strike::LongCut];
        for (round, strike) in (1..).zip(strikes.into_iter().chain(strikes)) {
            stage(&mut fleet, strike, round, &logs).await;
        }
    });
}

/// Strikes and repairs, under load, and judges what became of every request.
async fn stage(fleet: &mut Fleet<'_>, strike: Strike, round: u64, logs: &Path) {
    let step = |host: usize| round * 10 + host as u64;
    let loads = ASKED.map(|host| Work::start(fleet.lab, fleet.of(host).proxy, step(host), logs));
    until_used(fleet).await;
    let from = now();
    let since = strike.begin(fleet).await;
    let until = now();
    if strike == Strike::LongCut {
        eventually(PATIENCE, "no answer is waited for any more", async || since.elapsed() > LONG).await;
    }
    strike.end(fleet).await;
    fleet.until_agreed().await;
    until_used(fleet).await;
    for (host, load) in ASKED.into_iter().zip(loads) {
        let done = load.stop().await;
        tell(strike, host, &done);
        done.assert_kept();
        let lost = done.failed(false);
        assert!(strike != Strike::Stop || lost.is_empty(), "{lost:#?}");
        for lost in lost {
            assert_was_sent_there(strike, &done, lost, from, until);
        }
    }
}

impl Strike {
    /// Returns once the others know of it, and says when it was done.
    async fn begin(self, fleet: &mut Fleet<'_>) -> Instant {
        let node = fleet.lab.node(STRUCK);
        match self {
            Self::Stop => drop(node.engine.docker(&["stop", "gateway-1"])),
            Self::KillReplica => drop(node.engine.docker(&["kill", "gateway-1"])),
            Self::KillEvenkeel => fleet.end(STRUCK, Signal::KILL),
            Self::Cut | Self::LongCut => node.cut(),
        }
        let since = Instant::now();
        if matches!(self, Self::KillEvenkeel | Self::Cut | Self::LongCut) {
            fleet.until_ready(ASKED, STRUCK, false).await;
            return since;
        }
        let name = peer(node);
        for host in ASKED {
            let weight = async || fleet.of(host).admin.replica(&name).await.map(|replica| replica.weight);
            eventually(PATIENCE, "one replica is left there", async || weight().await == Some(1)).await;
        }
        since
    }

    async fn end(self, fleet: &mut Fleet<'_>) {
        match self {
            Self::Stop | Self::KillReplica => drop(fleet.lab.node(STRUCK).engine.docker(&["start", "gateway-1"])),
            Self::KillEvenkeel => fleet.start(STRUCK).await,
            Self::Cut | Self::LongCut => fleet.lab.node(STRUCK).heal(),
        }
    }
}

/// Waits until the host has got some hundred requests more of each of the others.
async fn until_used(fleet: &Fleet<'_>) {
    let name = peer(fleet.lab.node(STRUCK));
    for host in ASKED {
        let count = async || fleet.of(host).admin.replica(&name).await.map_or(0, |replica| replica.requests);
        let before = count().await;
        eventually(PATIENCE, &format!("{name} is used"), async || count().await >= before + 300).await;
    }
}

fn tell(strike: Strike, host: usize, done: &Done) {
    let lost = done.failed(false);
    let unbegun = lost.iter().filter(|record| done.witness.starts(record.number).is_empty()).count();
    eprintln!(
        "{strike:?}, clients of host {host}: {} of {} GETs and PUTs failed, {} of {} POSTs ({} begun there, {} begun \
         nowhere); the slowest took {} and {} ms",
        done.failed(true).len(),
        done.count(true),
        lost.len(),
        done.count(false),
        lost.len() - unbegun,
        unbegun,
        done.slowest(true),
        done.slowest(false),
    );
}

/// It was under way when the host was struck, or sent there before that was known; it began there or, since its bytes
/// were lost with a connection, nowhere; and the answer says that it was sent.
fn assert_was_sent_there(strike: Strike, done: &Done, lost: &Record, from: u64, until: u64) {
    let starts = done.witness.starts(lost.number);
    let is_there = starts.iter().all(|start| done.witness.replica(start).ends_with("-node-3"));
    let is_then = lost.start <= until + SLACK && lost.end + SLACK >= from;
    let (status, word) = match strike {
        // A connection that is cut does not break.
        Strike::Cut | Strike::LongCut => (504, "response-timeout"),
        _ => (502, "replica-reset"),
    };
    let is_sent = lost.status == status && lost.failure.as_deref().unwrap_or_default().contains(word);
    assert!(is_there && is_then && is_sent, "{strike:?} from {from} until {until}: {lost:#?} {starts:#?}");
}
